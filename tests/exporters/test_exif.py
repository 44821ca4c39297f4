"""The orientation of JPEGs read inside a graph against Pillow's, on files built byte by byte."""

import functools
import io
import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ssd_keras.exporters.encoded_bytes import EncodedBytes
from ssd_keras.exporters.exif import MAX_SEGMENTS, jpeg_exif, orientation

ORIENTATION, SHORT, LONG, ASCII = 0x0112, 3, 4, 2
XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
ICC = b"ICC_PROFILE\0\1\1" + bytes(range(256)) * 9


@functools.partial(tf.function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def in_graph(data):
    content = EncodedBytes(data)
    return orientation(content, jpeg_exif(content))


def orientation_of(data: bytes) -> int:
    return int(in_graph(tf.constant(data)))


def pillow(data: bytes) -> int:
    return Image.open(io.BytesIO(data)).getexif()[ORIENTATION]


def tiff(value, order="<", offset=8, before=(), count=None, kind=SHORT) -> bytes:
    """EXIF data: the header, a gap, one directory with the entries `before` and the orientation."""
    form = "HHIHH" if kind == SHORT else "HHII"
    numbers = (value, 0) if kind == SHORT else (value,)
    entries = [*before, struct.pack(order + form, ORIENTATION, kind, 1, *numbers)]
    count = len(entries) if count is None else count
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", offset) + bytes(offset - 8)
    return head + struct.pack(order + "H", count) + b"".join(entries) + bytes(4)


def exif(*arguments, **options) -> bytes:
    return b"Exif\0\0" + tiff(*arguments, **options)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def jpeg(*segments: bytes, has_jfif: bool = True) -> bytes:
    """A small JPEG with the segments in front of its own, or behind its JFIF segment."""
    file = io.BytesIO()
    Image.fromarray(np.arange(300, dtype="uint16").reshape(10, 10, 3).astype("uint8")).save(
        file, "JPEG"
    )
    data = file.getvalue()
    jfif = data[2 : 4 + int.from_bytes(data[4:6], "big")]
    assert jfif[:2] == b"\xff\xe0"
    rest = data[2 + len(jfif) :]
    return data[:2] + jfif * has_jfif + b"".join(segments) + rest


def app1(*arguments, **options) -> bytes:
    return segment(0xE1, exif(*arguments, **options))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_in_both_orders_of_bytes(turn, order):
    other = struct.pack(order + "HHII", 0x0100, LONG, 1, 640)
    maker = struct.pack(order + "HHI4s", 0x010F, ASCII, 4, b"abc\0")
    after = {"offset": 26, "before": (other, maker)}
    for data in (
        jpeg(app1(turn, order)),
        jpeg(app1(turn, order), has_jfif=False),
        jpeg(app1(turn, order, **after)),
        jpeg(app1(turn, order, kind=LONG)),
    ):
        assert orientation_of(data) == pillow(data) == turn


POSITIONS = {  # segments of the file
    "behind an ICC profile": [segment(0xE2, ICC), app1(6, ">")],
    "behind XMP, which is APP1 too": [segment(0xE1, XMP), app1(6)],
    "behind a comment with a mark": [segment(0xFE, b"\xff\xe1\0\x20Exif\0\0II*\0"), app1(6)],
    "behind fill bytes": [b"\xff\xff\xff", app1(6, ">")],
    "behind quantisation tables": [segment(0xDB, b"\0" + bytes(range(1, 65))), app1(6)],
    "behind 60 kB and many segments": [segment(0xEF, bytes(200))] * 300 + [app1(6)],
    "in front of more": [app1(6), segment(0xE1, XMP), segment(0xE2, ICC)],
}


@pytest.mark.parametrize("segments", POSITIONS.values(), ids=POSITIONS)
def test_the_segment_is_found_at_any_position(segments):
    data = jpeg(*segments)
    assert orientation_of(data) == pillow(data) == 6


def test_files_that_pillow_writes():
    for turn in range(1, 9):
        tags = Image.Exif()
        tags[ORIENTATION] = turn
        tags[0x010F] = "a maker with a long name"
        file = io.BytesIO()
        Image.new("RGB", (30, 20)).save(file, "JPEG", exif=tags)
        assert orientation_of(file.getvalue()) == pillow(file.getvalue()) == turn


def test_images_without_orientation_stay_as_they_are():
    png = io.BytesIO()
    Image.new("RGB", (30, 20)).save(png, "PNG")
    for data in (jpeg(), jpeg(segment(0xE1, XMP)), png.getvalue(), b"", b"\xff", b"\xff\xd8\xff"):
        assert orientation_of(data) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_out_of_range(order):
    for value in (0, 9, 300, 0xFFFF, 6 * 256):
        data = jpeg(app1(value, order))
        assert pillow(data) == value
        assert orientation_of(data) == 1


def test_a_file_cut_off_anywhere_is_no_error():
    data = jpeg(segment(0xE2, ICC[:40]), app1(6, ">", before=(bytes(12),)))
    # "MM" stands 6 bytes behind the start of the content; then 8 bytes of header, 2 of the count,
    # 12 of the other entry and 10 up to the second byte of the value.
    whole = data.index(b"Exif") + 6 + 8 + 2 + 12 + 10
    for length in range(whole + 20):
        assert orientation_of(data[:length]) == (6 if length >= whole else 1), length


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [100_000, 0x7FFFFFF0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_directory_far_outside_the_file(order, offset):
    content = bytearray(exif(6, order))
    content[10:14] = struct.pack(order + "I", offset)
    assert orientation_of(jpeg(segment(0xE1, bytes(content)))) == 1


def test_a_count_beyond_the_entries():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on such a file
        for order in "<>":
            data = jpeg(app1(6, order, count=0xFFFF))
            assert orientation_of(data) == pillow(data) == 6
    assert orientation_of(jpeg(app1(6, count=0))) == 1
    assert orientation_of(jpeg(app1(6)[:-8])) in range(1, 9)


def test_segments_without_an_end():
    for loop in (
        b"\xff\xe0\0\0",
        b"\xff\xe1\0\0",
        b"\xff\xe1\0\1",
        b"\xff\xff",
        b"\xff\xe0\xff\xff",
    ):
        assert orientation_of(b"\xff\xd8" + loop * 9) == 1
        assert orientation_of(b"\xff\xd8" + loop * 50_000) == 1
        assert orientation_of(jpeg(loop, app1(6))) in range(1, 9)


def test_the_search_ends_after_a_number_of_segments():
    empty = segment(0xFE, b"")
    assert orientation_of(jpeg(*[empty] * (MAX_SEGMENTS - 1), app1(6))) == 6  # and one of JFIF
    assert orientation_of(jpeg(*[empty] * MAX_SEGMENTS, app1(6))) == 1
    assert orientation_of(jpeg(*[segment(0xFE, bytes(60_000))] * 9, app1(6))) == 6


def test_random_bytes_are_no_error():
    random = np.random.default_rng(5)
    data = bytearray(jpeg(app1(6)))
    for _ in range(200):
        changed = data.copy()
        for position in random.integers(2, 60, 4):
            changed[position] = random.integers(256)
        assert orientation_of(bytes(changed)) in range(1, 9)
