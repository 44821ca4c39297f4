"""The list of image formats, and which of them an encoded image has."""

from typing import NamedTuple

from PIL import Image

MAX_PIXELS = 178_956_970  # above twice that, Pillow refuses images at the latest
HEAD_SIZE = 16  # bytes of a file that tell its format
JPEG_SIGNATURE, PNG_SIGNATURE = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
PRINT_SIZE = 8  # bytes of a file's head in messages


class ImageFormat(NamedTuple):
    """An image format: name, extensions of its files, Pillow's name ("": it is not read)."""

    name: str
    extensions: tuple[str, ...]
    pillow_name: str


# Without EPS, which Pillow gives to Ghostscript, and formats without pixels.
# TGA is last, because it has no signature.
FORMATS = (
    ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"), "JPEG"),
    ImageFormat("PNG", (".png", ".apng"), "PNG"),
    ImageFormat("BMP", (".bmp", ".dib"), "BMP"),
    ImageFormat("GIF", (".gif",), "GIF"),
    ImageFormat("WebP", (".webp",), "WEBP"),
    ImageFormat("TIFF", (".tif", ".tiff"), "TIFF"),
    ImageFormat("AVIF", (".avif", ".avifs"), "AVIF"),
    ImageFormat("JPEG 2000", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "JPEG2000"),
    ImageFormat("PPM", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "PPM"),
    ImageFormat("ICO", (".ico",), "ICO"),
    ImageFormat("CUR", (".cur",), "CUR"),
    ImageFormat("ICNS", (".icns",), "ICNS"),
    ImageFormat("QOI", (".qoi",), "QOI"),
    ImageFormat("DDS", (".dds",), "DDS"),
    ImageFormat("PSD", (".psd",), "PSD"),
    ImageFormat("PCX", (".pcx",), "PCX"),
    ImageFormat("SGI", (".sgi", ".rgb", ".rgba", ".bw"), "SGI"),
    ImageFormat("Sun raster", (".ras",), "SUN"),
    ImageFormat("TGA", (".tga",), "TGA"),
    ImageFormat("HEIC", (".heic", ".heif", ".hif"), ""),
    ImageFormat("JPEG XL", (".jxl",), ""),
)
JPEG, PNG = FORMATS[:2]
IMAGE_EXTENSIONS = tuple(extension for row in FORMATS for extension in row.extensions)
"""Extensions of image files in lower case; files have them in any case."""

JPEG_XL_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadFormatError(ValueError):
    """An image whose format is known and not read."""


def find_formats(head: bytes) -> list[ImageFormat]:
    """Returns the formats that an image may have by its first bytes, the likely ones first."""
    if head.startswith(JPEG_SIGNATURE):
        return [JPEG]
    if head.startswith(PNG_SIGNATURE):
        return [PNG]
    Image.init()  # registers Pillow's formats
    return [row for row in FORMATS[2:] if row.pillow_name and _accepts(row.pillow_name, head)]


def unknown_format(head: bytes) -> ValueError:
    """Returns the error for a file that begins as no image does that can be read."""
    if not head:
        return ValueError("the file is empty; expected an image")
    if head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS:
        return _unread("HEIC")
    if head.startswith(JPEG_XL_SIGNATURES):
        return _unread("JPEG XL")
    return ValueError(
        f"not an image (it starts with {head[:PRINT_SIZE]!r}); expected JPEG, PNG, WebP, TIFF or "
        "another format that Pillow opens"
    )


def has_signature(row: ImageFormat) -> bool:
    """Whether the first bytes of a file show its format."""
    return Image.OPEN[row.pillow_name][1] is not None


def _unread(format_name: str) -> UnreadFormatError:
    return UnreadFormatError(f"{format_name} is not read; convert it to JPEG or PNG")


def _accepts(pillow_name: str, head: bytes) -> bool:
    """Whether Pillow's plugin for a format takes a file with this head."""
    if pillow_name not in Image.OPEN:
        return False
    _, accept = Image.OPEN[pillow_name]
    try:
        answer = accept is None or accept(head)
    except Exception:  # of heads that are shorter than a plugin expects
        return False
    # A string says why a format that was recognised is missing in this build of Pillow.
    return bool(answer) and not isinstance(answer, str)
