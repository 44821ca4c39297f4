"""Text as files hold it and as messages show it."""

import unicodedata

# Control characters, halves of characters, ends of lines and of paragraphs.
UNUSABLE_CHARACTERS = ("Cc", "Cs", "Zl", "Zp")


LONGEST_LINE = 500
"""Characters of a text out of a file, when it is told."""


def is_plain_text(text: str) -> bool:
    """Whether a text can be a name: files and terminals have one a line."""
    return bool(text) and not any(unicodedata.category(c) in UNUSABLE_CHARACTERS for c in text)


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """A text that may hold anything as a line that a terminal can show."""
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-longest // 3 :]}"
    if text.isprintable():
        return text
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)
