"""Files read inside a graph: the pixels that `predict` sees or a refusal, and bounded work."""

import functools
import io
import struct
import time
import zlib

import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image

from ssd_keras.core.images import read_image
from ssd_keras.exporters.encoded_images import READS_WEBP, decode_upright, read_encoded

MAX_PIXELS = 3000
WIDTH, HEIGHT = 45, 31
RNG = np.random.default_rng(3)
SPOTS = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
IMAGE = Image.fromarray(SPOTS).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
ALPHA = IMAGE.copy()
ALPHA.putalpha(Image.linear_gradient("L").resize(IMAGE.size))
ALPHA_GIF = IMAGE.quantize(16)
GREY16 = Image.fromarray((np.asarray(IMAGE.convert("L")).astype(np.uint16) << 8) + 200)
TURNABLE = {
    "JPEG": ("JPEG", {"quality": 90}),
    "PNG": ("PNG", {}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "lossy WebP": ("WEBP", {"quality": 60}),
}


@functools.partial(tf.function, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def in_graph(data):
    return decode_upright(read_encoded(data, MAX_PIXELS), MAX_PIXELS)


def read(data: bytes):
    """The pixels, or None for a file that is called invalid."""
    image, is_decoded = in_graph(tf.constant(data))
    return image.numpy() if is_decoded else None


def encoded(image, kind, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def as_predict(data: bytes, tmp_path) -> np.ndarray:
    (tmp_path / "image").write_bytes(data)
    return read_image(str(tmp_path / "image"))


def exif(orientation) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = orientation, "a maker with a long name"
    return tags


def animation(kind, **options) -> bytes:
    frames = [IMAGE.rotate(angle) for angle in (90, 180)]
    return encoded(IMAGE, kind, save_all=True, append_images=frames, **options)


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def replaced(data: bytes, position: int, form: str, *values) -> bytes:
    content = bytearray(data)
    struct.pack_into(form, content, position, *values)
    return bytes(content)


PNG, GIF = encoded(IMAGE, "PNG"), encoded(IMAGE, "GIF")
BMP, BMP_GREY = encoded(IMAGE, "BMP"), encoded(IMAGE.convert("L"), "BMP")
PNG_HEAD = 33  # the signature and IHDR
BMP_32 = encoded(ALPHA, "BMP")


def bmp_with_masks(*masks) -> bytes:
    """The 32-bit BMP with colour masks behind its header."""
    head = bytearray(BMP_32[:54]) + struct.pack("<3I", *masks)
    struct.pack_into("<I", head, 10, len(head))
    struct.pack_into("<I", head, 30, 3)
    return bytes(head) + BMP_32[struct.unpack_from("<I", BMP_32, 10)[0] :]


def webp_with_exif(content: bytes) -> bytes:
    data = encoded(IMAGE, "WEBP", lossless=True, exif=exif(1))
    start = data.index(b"EXIF")
    body = data[12:start] + b"EXIF" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


TIFF_6 = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
XMP_ELEMENT = XMP.replace(b' tiff:Orientation="6"/', b"><tiff:Orientation>8</tiff:Orientation></a")
RIGHT = {
    "JPEG with XMP": encoded(IMAGE, "JPEG", xmp=XMP),
    "JPEG with an element of XMP": encoded(IMAGE, "JPEG", xmp=XMP_ELEMENT),
    "JPEG with XMP and EXIF": encoded(IMAGE, "JPEG", xmp=XMP, exif=exif(1)),
    "WebP with XMP": encoded(IMAGE, "WEBP", xmp=XMP),
    "PNG with XMP": PNG[:PNG_HEAD]
    + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    + PNG[PNG_HEAD:],
    **{f"PNG {mode}": encoded(IMAGE.convert(mode), "PNG") for mode in ("1", "L", "P", "RGB")},
    **{f"PNG {mode}": encoded(ALPHA.convert(mode), "PNG") for mode in ("LA", "RGBA")},
    "PNG of 16 bits": encoded(GREY16, "PNG"),
    "PNG with 16 colours": encoded(IMAGE.quantize(16), "PNG", bits=4),
    "PNG with a see-through colour": encoded(IMAGE.convert("P"), "PNG", transparency=3),
    "PNG with 32 texts": PNG[:PNG_HEAD]
    + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"text")) * 32
    + PNG[PNG_HEAD:],
    "PNG with EXIF behind its mark": PNG[:PNG_HEAD]
    + chunk(b"eXIf", b"Exif\0\0" + TIFF_6)
    + PNG[PNG_HEAD:],
    "PNG of an animation": animation("PNG"),
    **{f"JPEG {mode}": encoded(IMAGE.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")},
    **{
        f"JPEG, progressive, subsampling {number}": encoded(
            IMAGE, "JPEG", progressive=True, subsampling=number
        )
        for number in (0, 1, 2)
    },
    "JPEG in RGB": encoded(IMAGE, "JPEG", keep_rgb=True),
    "JPEG with a tail": encoded(IMAGE, "JPEG") + bytes(9000) + b"\xff\xda" * 300,
    "BMP RGB": BMP,
    "BMP from the top": replaced(BMP, 22, "<i", -HEIGHT),
    "grey BMP": BMP_GREY,
    "BMP of 32 bits": BMP_32,
    "BMP of 32 bits with masks": bmp_with_masks(0xFF0000, 0xFF00, 0xFF),
    **{f"GIF {mode}": encoded(IMAGE.convert(mode), "GIF") for mode in ("1", "L", "P")},
    "GIF of an animation": animation("GIF"),
    "GIF with a see-through colour": encoded(
        ALPHA_GIF, "GIF", transparency=ALPHA_GIF.getpixel((5, 5))
    ),
    "GIF with a comment": encoded(IMAGE, "GIF", comment=b"text " * 200),
    "GIF in rows of eight": encoded(IMAGE, "GIF", interlace=1),
    "GIF without its end": GIF[:-1],
    "WebP with alpha": encoded(ALPHA, "WEBP", lossless=True),
    "lossy WebP with alpha": encoded(ALPHA, "WEBP", quality=70),
    "WebP with EXIF behind its mark": webp_with_exif(b"Exif\0\0" + TIFF_6),
    "WebP with plain EXIF": webp_with_exif(TIFF_6),
}
CMYK = encoded(IMAGE.convert("CMYK"), "JPEG")
ADOBE = CMYK.index(b"\xff\xee\0\x0eAdobe")
INVALID = {
    "CMYK JPEG without Adobe's mark": CMYK[:ADOBE] + CMYK[ADOBE + 16 :],
    "BMP with a palette": encoded(IMAGE.convert("P"), "BMP"),
    "BMP of 1 bit": encoded(IMAGE.convert("1"), "BMP"),
    "BMP with other masks": bmp_with_masks(0xFF, 0xFF00, 0xFF0000),
    "BMP in run lengths": replaced(BMP_GREY, 30, "<I", 1),
    "BMP of OS/2": replaced(BMP, 14, "<I", 12),
    "BMP of 16 bits": replaced(BMP, 28, "<H", 16),
    "GIF in a larger canvas": replaced(GIF, 6, "<HH", WIDTH + 4, HEIGHT),
    "GIF cut off": GIF[: len(GIF) // 2],
    "WebP of an animation": animation("WEBP"),
    "TIFF": encoded(IMAGE, "TIFF"),
    "PNG without IHDR": PNG[:12] + b"JUNK" + PNG[16:],
    "no bytes": b"",
    "RIFF of another kind": b"RIFF\x24\0\0\0WAVEfmt ",
}


def needs_webp(kind):
    """Skips what TensorFlow's decoders cannot do, after a look that nothing fails there."""
    if "WebP" in kind and not READS_WEBP:
        assert read(encoded(IMAGE, "WEBP")) is None
        pytest.skip("TensorFlow before 2.20 decodes no WebP")


@pytest.mark.parametrize("name", RIGHT)
def test_pixels_are_those_of_predict(name, tmp_path):
    needs_webp(name)
    if name == "PNG with EXIF behind its mark" and PIL.__version__ < "11":
        pytest.skip("Pillow before 11 does not turn such a PNG")
    np.testing.assert_array_equal(read(RIGHT[name]), as_predict(RIGHT[name], tmp_path))


@pytest.mark.parametrize("name", INVALID)
def test_what_would_be_decoded_otherwise_is_invalid(name):
    assert read(INVALID[name]) is None


@pytest.mark.parametrize("kind", TURNABLE)
def test_every_turn_of_every_format(kind, tmp_path):
    needs_webp(kind)
    name, options = TURNABLE[kind]
    for orientation in range(1, 9):
        data = encoded(IMAGE, name, exif=exif(orientation), **options)
        sides = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
        expected = as_predict(data, tmp_path)
        assert expected.shape == (*sides, 3)
        np.testing.assert_array_equal(read(data), expected)


# Each claims more pixels than the limit, or has more.
LARGE = Image.new("1", (60, 51))
WEBP = {"lossy": {"quality": 50}, "lossless": {"lossless": True}, "extended": {"exif": exif(6)}}
TOO_LARGE = {
    **{kind: encoded(LARGE, kind) for kind in ("JPEG", "PNG", "GIF")},
    "BMP": encoded(LARGE.convert("RGB"), "BMP"),
    "BMP from the top": replaced(BMP, 18, "<ii", 60, -51),
    **{f"{name} WebP": encoded(LARGE, "WEBP", **options) for name, options in WEBP.items()},
    "PNG of 2^62 pixels": replaced(PNG, 16, ">II", 2**31 - 1, 2**31 - 1),
    "PNG of 2^64 pixels": replaced(PNG, 16, ">II", 2**32 - 1, 2**32 - 1),
    "GIF of 65535x65535": replaced(GIF, 6, "<HH", 65535, 65535),
    "BMP of 2^31 rows": replaced(BMP, 18, "<ii", 1, -(2**31)),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_images_beyond_the_limit_are_not_decoded(name):
    assert read(TOO_LARGE[name]) is None


def test_images_of_the_largest_size_are_decoded(tmp_path):
    image = Image.linear_gradient("L").resize((60, 50))
    for kind in ("JPEG", "PNG", "GIF", "BMP", *(["WEBP"] if READS_WEBP else [])):
        data = encoded(image, kind)
        np.testing.assert_array_equal(read(data), as_predict(data, tmp_path))


def with_scans(number) -> bytes:
    """A progressive JPEG of the largest size with its last scan once more, this often."""
    data = encoded(Image.new("RGB", (60, 50)), "JPEG", progressive=True)
    assert data.count(b"\xff\xda") == 10
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * number + data[-2:]


def hostile_files() -> dict[str, bytes]:
    """Files of a few kilobytes or megabytes that would keep a decoder or a loop busy."""
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(7_900_000), 9))
    frame = (
        b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\xff" + bytes(255) + b"\0"
    )
    return {
        "33 scans": with_scans(23),
        "33 texts": PNG[:PNG_HEAD] + text * 33 + PNG[PNG_HEAD:],
        "texts behind the pixels": PNG[:-12] + text * 33 + PNG[-12:],
        "a chain of GIF blocks": GIF[:13] + b"\x21\xfe" + b"\1a" * 200_000 + b"\0" + GIF[13:],
        "GIF extensions": GIF[:13] + b"\x21\xfe\0" * 200_000 + GIF[13:],
        "large frames": GIF[:-1] + frame * 999 + b";",
    }


def test_hostile_files_are_answered_soon(tmp_path):
    assert read(with_scans(22)) is not None
    files = hostile_files()
    in_graph(tf.constant(b""))
    start = time.process_time()
    answers = {name: read(data) for name, data in files.items()}
    assert time.process_time() - start < 20  # it takes about 2 s
    frames = answers.pop("large frames")
    np.testing.assert_array_equal(frames, as_predict(GIF, tmp_path))
    assert list(answers.values()) == [None] * 5
