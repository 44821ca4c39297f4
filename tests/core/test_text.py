"""Text out of files: what can be a name, and how a message quotes it."""

import pytest

from ssd_keras.core.text import is_plain_text, one_line


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
