"""Damages files: any file by its bytes, a text by its words."""

import binascii
import random
import re
import struct
from collections.abc import Callable

WORDS = re.compile(rb'"(?:[^"\\]|\\.)*"|<[^<>]*>|[\w.+-]+|[^\w\s]')
STRANGE_WORDS = (
    b"nan", b"NaN", b"Infinity", b"-inf", b"1e999", b"-1e308", b"1e-320", b"0", b"-1", b"0.5",
    b"2147483648", b"18446744073709551616", b"9" * 400, b"1" * 5000, "１２".encode(), b"0x10",
    b"null", b"true", b"[]", b"{}", b'""', b"''", b'"', b"[" * 50, b"{" * 50,
    b"../../outside/secret", b"/etc/hostname", b'"../../outside/secret.jpg"', b"~", b"%s%n",
    b'"\\ud800"', b'"\\u0000"', b'"two\\nlines"', b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[2J",
    b"<!DOCTYPE a>", b"<![CDATA[", b"&lt;", b"&a;", b"<object>", b"</object>", b" ", b"\n", b"\r",
    b"\r\n", b"\t", b",", b",,,,,,", b"=1+1", b"A" * 100_000, b"dog", "Füße".encode(),
    "\N{LINE SEPARATOR}".encode(),
)  # fmt: skip
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MAX_REPEATS = 40
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A record: its length, a checksum of that, the content, a checksum of that.
RECORD_LENGTH, RECORD_HEAD, RECORD_TAIL = "<Q", 12, 4

Damage = Callable[[bytes, random.Random], bytes]


def mutate(content: bytes, chance: random.Random, is_text: bool) -> bytes:
    """Damages a file one to four times; `chance` decides everything."""
    choices = BYTE_DAMAGE + (WORD_DAMAGE * 3 if is_text else ())
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        content = chance.choice(choices)(content, chance)
    # Most decoders stop at a wrong checksum: half of the damage gets past it.
    if content.startswith(PNG_SIGNATURE) and chance.random() < 0.5:
        content = fix_checksums(content)
    return content


def split_records(content: bytes) -> list[bytes]:
    """Returns the records of a good TFRecord file."""
    records, offset = [], 0
    while offset < len(content):
        (length,) = struct.unpack_from(RECORD_LENGTH, content, offset)
        offset += RECORD_HEAD
        records.append(content[offset : offset + length])
        offset += length + RECORD_TAIL
    return records


def fix_checksums(content: bytes) -> bytes:
    """Writes the right checksum after each chunk of a PNG, as far as its lengths make sense."""
    png, offset = bytearray(content), len(PNG_SIGNATURE)
    while offset + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, offset)
        end = offset + 8 + length
        if end + 4 > len(png):
            break
        struct.pack_into(">I", png, end, binascii.crc32(png[offset + 4 : end]))
        offset = end + 4
    return bytes(png)


# Bytes


def _span(content: bytes, chance: random.Random, longest: int = 64) -> slice:
    start = chance.randrange(len(content) + 1)
    return slice(start, start + chance.randint(1, longest))


def _flip_bit(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _write_number(content: bytes, chance: random.Random) -> bytes:
    size, number = chance.choice((1, 2, 4, 8)), chance.choice(EXTREMES)
    number = min(number, 256**size - 1)
    start = chance.randrange(len(content) + 1)
    order = chance.choice(("big", "little"))
    return content[:start] + number.to_bytes(size, order) + content[start + size :]


def _cut_out(content: bytes, chance: random.Random) -> bytes:
    span = _span(content, chance)
    return content[: span.start] + content[span.stop :]


def _cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    span = _span(content, chance)
    times = chance.randint(2, MAX_REPEATS)
    return content[: span.start] + content[span] * times + content[span.stop :]


def _insert(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) + 1)
    return content[:start] + chance.randbytes(chance.randint(1, 32)) + content[start:]


def _move(content: bytes, chance: random.Random) -> bytes:
    span = _span(content, chance)
    rest = content[: span.start] + content[span.stop :]
    start = chance.randrange(len(rest) + 1)
    return rest[:start] + content[span] + rest[start:]


# Words of a text: numbers, names, tags, quoted strings, signs


def _word_spans(content: bytes) -> list[tuple[int, int]]:
    return [word.span() for word in WORDS.finditer(content)] or [(0, 0)]


def _replace_word(content: bytes, chance: random.Random) -> bytes:
    start, stop = chance.choice(_word_spans(content))
    return content[:start] + chance.choice(STRANGE_WORDS) + content[stop:]


def _fill_quotes(content: bytes, chance: random.Random) -> bytes:
    """Puts a strange word between quotes or the brackets of a tag."""
    start, stop = chance.choice(_word_spans(content))
    word = content[start + 1 : stop - 1]
    return content[: start + 1] + chance.choice((*STRANGE_WORDS, word * 2)) + content[stop - 1 :]


def _remove_word(content: bytes, chance: random.Random) -> bytes:
    start, stop = chance.choice(_word_spans(content))
    return content[:start] + content[stop:]


def _repeat_word(content: bytes, chance: random.Random) -> bytes:
    start, stop = chance.choice(_word_spans(content))
    return content[:start] + content[start:stop] * chance.choice((2, 3, 1000)) + content[stop:]


def _swap_words(content: bytes, chance: random.Random) -> bytes:
    (start, stop), (later, end) = sorted(chance.choices(_word_spans(content), k=2))
    if later < stop:
        return content
    middle = content[later:end] + content[stop:later] + content[start:stop]
    return content[:start] + middle + content[end:]


def _repeat_line(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    index = chance.randrange(len(lines))
    return b"".join([*lines[:index], lines[index] * chance.choice((0, 2, 50)), *lines[index + 1 :]])


BYTE_DAMAGE: tuple[Damage, ...] = (
    _flip_bit, _write_number, _cut_out, _cut_off, _repeat, _insert, _move,
)  # fmt: skip
WORD_DAMAGE: tuple[Damage, ...] = (
    _replace_word, _fill_quotes, _remove_word, _repeat_word, _swap_words, _repeat_line,
)  # fmt: skip
