"""Fonts for names in every script: each letter from the first font that has it."""

import functools
import os
import unicodedata
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from PIL import ImageDraw, ImageFont

from ssd_keras.core.text import short_list

FONT_VARIABLE = "SSD_KERAS_FONT"
MAX_NAMES = 5  # in a warning
# Characters that are not drawn, so that no font needs to have them: joiners, variations.
SHAPELESS = {"\u200b", "\u200c", "\u200d", "\ufe0e", "\ufe0f"}


@dataclass(frozen=True)
class TextFont:
    """A size in pixels of all fonts together."""

    size: int

    @property
    def height(self) -> int:
        """Pixels from the highest letter to the lowest."""
        return sum(self._main.getmetrics())

    def width(self, text: str) -> float:
        """Returns the length of a line in pixels."""
        return _width(runs(text), self.size)

    def draw(
        self, draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, **ink: Any
    ) -> None:
        """Writes a line; the corner is its upper left one."""
        x, baseline = corner[0], corner[1] + self._main.getmetrics()[0]
        for path, part in runs(text):
            font = _load(path, self.size)
            draw.text((x, baseline), part, font=font, anchor="ls", **ink)
            x += font.getlength(part)

    @property
    def _main(self) -> ImageFont.FreeTypeFont:
        return _load(_first_fonts(_named_font())[0], self.size)


@functools.lru_cache(maxsize=4096)
def shortened(text: str, font: TextFont, width: float) -> str:
    """Returns a text as one line, its middle replaced by "…" where it exceeds a width in pixels."""
    text = " ".join(_plain(text).split())
    if font.width(text) <= width:
        return text

    def cut(num_kept: int) -> str:
        head = text[: num_kept - num_kept // 2].rstrip()
        return f"{head}…{text[len(text) - num_kept // 2 :].lstrip()}"

    fitting, too_long = 0, len(text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if font.width(cut(middle)) <= width:
            fitting = middle
        else:
            too_long = middle
    return cut(fitting) if fitting else ""


@functools.lru_cache(maxsize=64)
def warn_of_missing(names: tuple[str, ...]) -> None:
    """Warns, once for the same names, of those with letters that no font has."""
    missing = [name for name in names if not all(map(_has_font, _plain(name)))]
    if missing:
        warnings.warn(
            f"no font here has the letters of {short_list(list(map(repr, missing)), MAX_NAMES)}; "
            "rectangles are drawn for them: install a font of their script, such as Noto Sans, or "
            f"name the file of one in the environment variable {FONT_VARIABLE}",
            stacklevel=2,
        )


def plot_families(names: Collection[str]) -> list[str]:
    """Returns Matplotlib's names of the fonts that have the letters of the names."""
    from matplotlib.font_manager import FontProperties, fontManager

    warn_of_missing(tuple(names))
    paths = dict.fromkeys(path for name in names for path, _ in runs(name))
    for path in paths:
        fontManager.addfont(path)
    return [FontProperties(fname=path).get_name() for path in paths]


def runs(text: str) -> Sequence[tuple[str, str]]:
    """Returns the parts of a line that are of one font, each behind the path of that font."""
    return _runs(text, _named_font())


@functools.lru_cache(maxsize=4096)
def _runs(text: str, named_font: str) -> tuple[tuple[str, str], ...]:
    text, main = _plain(text), _first_fonts(named_font)[0]
    whole = next((path for path in _first_fonts(named_font) if _covers(path, text)), "")
    if whole:
        return ((whole, text),)
    paths: list[str] = []
    for letter in text:
        is_mark = unicodedata.combining(letter) or letter in SHAPELESS or letter == " "
        path = _font_of(letter, named_font) or main
        paths.append(paths[-1] if is_mark and paths else path)
    parts = groupby(zip(paths, text, strict=True), key=lambda pair: pair[0])
    return tuple((path, "".join(letter for _, letter in pairs)) for path, pairs in parts)


@functools.lru_cache(maxsize=4096)
def _width(parts: Sequence[tuple[str, str]], size: int) -> float:
    return sum(_load(path, size).getlength(part) for path, part in parts)


def _plain(text: str) -> str:
    """Returns a text without control characters and those that change its direction."""
    return "".join(
        " " if letter.isspace() else letter
        for letter in text
        if letter in SHAPELESS
        or letter.isspace()
        or unicodedata.category(letter) not in ("Cc", "Cf")
    )


def _named_font() -> str:
    return os.environ.get(FONT_VARIABLE, "")


def _has_font(letter: str) -> bool:
    return letter in SHAPELESS or bool(_font_of(letter, _named_font()))


@functools.lru_cache(maxsize=65536)
def _font_of(letter: str, named_font: str) -> str:
    """Returns the path of the first font that has a letter, "" where none has it."""
    for path in _first_fonts(named_font):
        if _covers(path, letter):
            return path
    return next((path for path in _system_fonts() if _covers(path, letter)), "")


@functools.cache
def _first_fonts(named_font: str) -> tuple[str, ...]:
    """Returns the font that the user names, if any, and the one that comes with Matplotlib."""
    import matplotlib

    dejavu = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    if not named_font:
        return (dejavu,)
    try:
        ImageFont.truetype(named_font, 12)
    except OSError as error:
        raise ValueError(
            f"{FONT_VARIABLE} is {named_font!r}, which is not a font that can be read; expected "
            "the path of a .ttf, .otf or .ttc file"
        ) from error
    return named_font, dejavu


@functools.cache
def _system_fonts() -> tuple[str, ...]:
    """Returns the system's fonts, upright ones of usual weight first, coloured ones last."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import fontManager

    # Matplotlib's own are for formulas; the font of last resort has a placeholder for each letter.
    usable = (
        entry
        for entry in fontManager.ttflist
        if not entry.fname.startswith(get_data_path()) and "lastresort" not in entry.fname.lower()
    )
    entries = sorted(
        usable,
        key=lambda entry: (
            "Color" in entry.name,
            entry.style != "normal",
            entry.weight not in (400, "normal", "regular"),
            "Sans" not in entry.name,
            entry.fname,
        ),
    )
    return tuple(dict.fromkeys(entry.fname for entry in entries))


def _covers(path: str, text: str) -> bool:
    letters = _letters(path)
    return all(letter in SHAPELESS or ord(letter) in letters for letter in text)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """Returns the code points of a font that can be drawn at any size."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # moved, or damaged
        return frozenset()
    return frozenset(font.get_charmap() if font.scalable else ())


@functools.lru_cache(maxsize=64)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
