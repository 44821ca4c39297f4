"""Names in every script: the fonts of their letters, and what is said where there is none."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from ssd_keras.drawing import fonts
from ssd_keras.drawing.draw import class_colors, draw_boxes
from ssd_keras.drawing.fonts import TextFont, plot_families, runs, shortened, warn_of_missing
from ssd_keras.drawing.sheet import contact_sheet

LATIN_GREEK_CYRILLIC = ("Fünfeck", "dvě – čtyři", "ñandú", "γάτα", "кошка", "ІЇЄ", "Ðþ")
CAT = "\u732b"  # Chinese, which the font of Matplotlib has not
RARE = "\U000e0fff"  # no letter, so that no font has it
WHITE = np.full((200, 300, 3), 255, np.uint8)
BOX = np.array([[0.4, 0.1, 0.9, 0.4]])


@pytest.fixture
def font_file(tmp_path):
    """A font with one letter, a full square: 猫."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(CAT): "cat"})
    builder.setupGlyf({".notdef": square, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "One Cat", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    path = str(tmp_path / "cat.ttf")
    builder.save(path)
    return path


@pytest.fixture
def no_system_fonts(monkeypatch):
    fonts._font_of.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    yield
    fonts._font_of.cache_clear()


def tag(name: str) -> np.ndarray:
    """The ink of a tag."""
    drawn = draw_boxes(WHITE, BOX, [0], [0.87], [name])
    return drawn[50:80, 30:] != class_colors(1)[0]


@pytest.mark.parametrize("name", LATIN_GREEK_CYRILLIC)
def test_names_of_europe_have_letters_without_a_warning(name):
    ((path, text),) = runs(name)
    assert path.endswith("DejaVuSans.ttf") and text == name
    # The sixth letter of the font is a rectangle, which stands for what it lacks.
    unknown = "".join(RARE if letter.isalpha() else letter for letter in name)
    assert TextFont(20).width(name) != TextFont(20).width(unknown)
    warn_of_missing((name,))


def test_a_named_font_is_used_for_its_letters(font_file, monkeypatch, no_system_fonts):
    monkeypatch.setenv(fonts.FONT_VARIABLE, font_file)
    assert runs(CAT) == ((font_file, CAT),)
    mixed = runs(f"a {CAT} {CAT}b")
    assert [text for _, text in mixed] == ["a ", f"{CAT} {CAT}", "b"]
    assert [path == font_file for path, _ in mixed] == [False, True, False]
    assert TextFont(20).width(CAT) == 20
    warn_of_missing((f"{CAT} cat",))
    assert plot_families(["cat", CAT]) == ["DejaVu Sans", "One Cat"]
    monkeypatch.setenv(fonts.FONT_VARIABLE, __file__)
    with pytest.raises(ValueError, match=r"^SSD_KERAS_FONT is '.*py', which is not a font that"):
        draw_boxes(WHITE, BOX, [0], None, ["cat"])


def test_a_font_of_the_system_is_used_where_the_first_lacks_letters(font_file, monkeypatch):
    fonts._font_of.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (font_file,))
    assert [path == font_file for path, _ in runs(f"a {CAT}")] == [False, True]
    fonts._font_of.cache_clear()


def test_letters_without_a_font_are_told_once_with_their_names(no_system_fonts, recwarn):
    names = ("cat", f"\x0b{RARE}one", *(f"{RARE}{number}" for number in range(6)))
    with pytest.warns(
        UserWarning, match=r"no font here has the letters of .* and 2 more; rec"
    ) as told:
        for _ in range(2):
            draw_boxes(WHITE, BOX, [0], [0.5], names)
    assert len(told) == 1 and "SSD_KERAS_FONT" in str(told[0].message)
    with pytest.warns(UserWarning, match="no font here has the letters of"):
        contact_sheet([WHITE], captions=[RARE])


def test_long_names_are_shortened_in_the_middle_and_keep_their_score():
    font = TextFont(12)
    long = "a name that goes on" + " and on" * 400
    short = shortened(long, font, 150)
    head, tail = short.split("…")
    assert long.startswith(head) and long.endswith(tail) and abs(len(head) - len(tail)) <= 2
    assert 130 < font.width(short) <= 150
    assert shortened("name", font, 150) == "name" and shortened("name", font, 1) == ""
    assert shortened("two\nlines\u2028\u202egnp", font, 150) == "two lines gnp"
    drawn = draw_boxes(WHITE, BOX, [0], [0.87], [long])
    changed = np.nonzero((drawn != WHITE).any(-1))[1]
    assert changed.max() < 30 + 160  # half of the image beside the box
    assert (tag(long) != tag(long.replace("on", "no"))).any()
    score = draw_boxes(WHITE, BOX, [0], [0.13], [long])
    assert (score != drawn).any()


def test_a_class_may_have_letters_of_any_direction():
    for name in ("حصان", "חתול", "ae\u0301"):
        assert (tag(name) != tag(name[::-1])).any()
    # What turns the direction has no shape.
    assert (tag("ab\u202ecd") == tag("abcd")).all()
    assert (tag("a\u200db") == tag("ab")).all()
