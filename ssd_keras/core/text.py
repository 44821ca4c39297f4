"""Checks and escapes text that comes out of files."""

import difflib
import unicodedata
from collections.abc import Iterable

# Control characters, surrogates, line and paragraph separators.
UNUSABLE_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
MAX_LENGTH = 500  # characters of a file's text in a message


def is_plain_text(text: str) -> bool:
    """Whether a text is one non-empty line without control characters, as a name must be."""
    return bool(text) and not any(unicodedata.category(c) in UNUSABLE_CATEGORIES for c in text)


def clean_name(text: str) -> str:
    """Returns a name as names are compared: composed letters (NFC), no blanks at the ends."""
    return unicodedata.normalize("NFC", text).strip()


def one_line(text: str, max_length: int = MAX_LENGTH) -> str:
    """Returns any text as one printable line, escaped and shortened in the middle."""
    if len(text) > max_length:
        text = f"{text[: max_length // 2]} ... {text[-max_length // 3 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Returns the message for an unknown name, with the nearest known one."""
    names = list(known)
    nearest = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{kind} {name!r} is unknown; {hint}choose one of {', '.join(names) or 'none'}."
