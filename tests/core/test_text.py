"""Text out of files: what can be a name, and how a message quotes it."""

import pytest

from ssd_keras.core.text import (
    did_you_mean,
    is_plain_text,
    nearest_name,
    one_line,
    short_list,
    unknown_name,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traffic light", True),
        ("Blutplättchen 猫", True),
        ("", False),
        ("traffic\nlight", False),
        ("\x1b[2J", False),
        ("half \ud800", False),
        ("line\u2028separator", False),
    ],
)
def test_a_name_is_one_line_of_text(text, expected):
    assert is_plain_text(text) is expected


def test_messages_quote_in_one_line():
    assert one_line("traffic light") == "traffic light"
    assert one_line("two\nlines\x1b") == r"two\nlines\x1b"
    # Of 12 characters the first 6 and the last 4 stay.
    assert one_line("abcdefghijklmnopqrstuvwxyz", 12) == "abcdef ... wxyz"


def test_a_long_list_says_how_many_words_it_lacks():
    assert short_list(["cat", "dog"], 2) == "cat, dog"
    assert short_list(["cat", "dog", "cow", "hen"], 2) == "cat, dog and 2 more"
    assert (
        short_list([str(number) for number in range(11)])
        == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 1 more"
    )


def test_a_question_names_the_nearest_known_name():
    assert did_you_mean("trian", ["test", "train"]) == "did you mean 'train'? "
    assert did_you_mean("x", ["test", "train"]) == ""


NEAREST = [
    ("trian", ["test", "train"], "train"),  # nearly equal
    ("val", ["train", "validation"], "validation"),  # its beginning
    ("lr", ["learning_rate", "left"], "learning_rate"),  # its initials
    ("Saved-Model", ["saved_models", "saved_model"], "saved_model"),  # of equal key
    ("ssd300", ["ssd300_voc", "ssd300_coco"], "ssd300_voc"),  # the first of two
    ("x", ["test", "train"], None),
]


@pytest.mark.parametrize(("name", "known", "nearest"), NEAREST, ids=[x[0] for x in NEAREST])
def test_the_nearest_name(name, known, nearest):
    assert nearest_name(name, known) == nearest


def test_an_unknown_name_is_told_with_few_others():
    few, many = ["red", "blue"], [f"color{number}" for number in range(12)]
    assert unknown_name("color", "rad", few, "ls") == (
        "color 'rad' is unknown; did you mean 'red'? choose one of red, blue."
    )
    assert unknown_name("color", "color3x", many, "ls") == (
        "color 'color3x' is unknown; did you mean 'color3'? `ls` lists all."
    )
    assert unknown_name("color", "mauve", many).endswith("choose one of " + ", ".join(many) + ".")
