"""Checks and escapes text that comes out of files."""

import codecs
import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Control characters, surrogates, line and paragraph separators.
UNUSABLE_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
# What turns the direction of text, Unicode's Bidi_Control: a name would be shown as another.
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MAX_LENGTH = 500  # characters of a file's text in a message
MIN_PREFIX = 3  # letters of a name that stand for a longer one
MAX_CHOICES = 9  # named in a message where a command lists them too
BYTE_ORDER_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MAX_CAUSE = 300  # characters of another library's
ADVICE = re.compile(r"(?<=[.!?]) (If|Make sure|Please|You can)\b.*")  # of other libraries


def is_plain_text(text: str) -> bool:
    """Whether a text is one non-empty line without control characters, as a name must be."""
    return bool(text) and not any(
        c in TURNING or unicodedata.category(c) in UNUSABLE_CATEGORIES for c in text
    )


def composed(text: str) -> str:
    """Returns a text with composed letters (NFC); macOS writes file names with divided ones."""
    return unicodedata.normalize("NFC", text)


def clean_name(text: str) -> str:
    """Returns a name as names are compared: composed letters, no blanks at the ends."""
    return composed(text).strip()


def one_line(text: str, max_length: int = MAX_LENGTH) -> str:
    """Returns any text as one printable line, escaped and shortened in the middle."""
    if len(text) > max_length:
        text = f"{text[: max_length // 2]} ... {text[-max_length // 3 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short_list(words: Sequence[str], max_words: int = 10) -> str:
    """Returns the first words, and how many more there are."""
    more = f" and {len(words) - max_words} more" if len(words) > max_words else ""
    return ", ".join(words[:max_words]) + more


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_key(name: str) -> str:
    """Returns what two names share that differ in case, blanks, "_" and "-" alone."""
    return "".join(c for c in clean_name(name).casefold() if c not in "_-" and not c.isspace())


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that was probably meant.

    It has the same key, is longer ("val" for "validation"), has these initials ("lr" for
    "learning_rate"), or is nearly equal.
    """
    names: dict[str, str] = {}
    for each in known:
        names.setdefault(name_key(each), each)
    key = name_key(name)
    longer = [each for each in names if len(key) >= MIN_PREFIX and each.startswith(key)]
    initials = [each for each in names if key == _initials(names[each])]
    near = difflib.get_close_matches(key, names, n=1)
    found = [key] if key in names else [*longer, *initials, *near]
    return names[found[0]] if found else None


def _initials(name: str) -> str | None:
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
    return "".join(word[0] for word in words) if len(words) > 1 else None


def first_cause(error: BaseException) -> str:
    """Returns the words of an error's first cause; what Keras says last repeats the whole file."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return words_of(error)


def words_of(error: BaseException) -> str:
    """Returns the words of an error in one line, without advice to be less careful."""
    words = ADVICE.sub("", " ".join(str(error).split())).rstrip(".")
    return one_line(words or type(error).__name__, MAX_CAUSE)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a question for a message, with a blank behind it; "" where no known name is near."""
    nearest = nearest_name(name, known)
    return f"did you mean {nearest!r}? " if nearest else ""


def unknown_name(kind: str, name: object, known: Iterable[str], see: str = "") -> str:
    """Returns the message for an unknown name, with the nearest known one.

    Where there are many, `see` is the command that lists them.
    """
    names = list(known)
    question = did_you_mean(str(name)[:MAX_LENGTH], names)
    is_long = see and len(names) > MAX_CHOICES
    choices = f"`{see}` lists all" if is_long else f"choose one of {', '.join(names) or 'none'}"
    return f"{one_line(kind)} {one_line(repr(name))} is unknown; {question}{choices}."


def marked_encoding(content: bytes) -> str | None:
    """Returns the encoding of a file that begins with the mark of UTF-16 or UTF-32, else None."""
    return next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)


def read_text(path: str) -> str:
    """Returns the text of a file, decoded by `decode_text`."""
    with open(path, "rb") as file:
        return decode_text(file.read(), path)


def line_of(error: UnicodeDecodeError) -> int:
    """Returns the line, from 1 on, of the first byte that cannot be decoded."""
    return error.object.count(b"\n", 0, error.start) + 1


def decode_text(content: bytes, path: str) -> str:
    """Returns the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark."""
    encoding = marked_encoding(content) or "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: line {line_of(error)} is not {encoding.removesuffix('-sig').upper()}; "
            "save the file as UTF-8"
        ) from None
