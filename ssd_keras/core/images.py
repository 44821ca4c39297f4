"""Image files: their headers and their pixels."""

import io
import os
import sys
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from ssd_keras.core.image_ends import PNG_SIGNATURE_SIZE, has_jpeg_end, has_png_end
from ssd_keras.core.image_formats import (
    HEAD_SIZE,
    JPEG,
    MAX_PIXELS,
    PNG,
    ImageFormat,
    UnreadFormatError,
    find_formats,
    has_signature,
    unknown_format,
)

MEGA = 1_000_000
EXIF_ORIENTATION = 0x0112
TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
INVERSE_ORIENTATIONS = {6: 8, 8: 6}  # the others are their own
# Where Pillow keeps what an orientation can be read from.
EXIF_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
PNG_BIT_DEPTH = 16  # its place in the first chunk
FIRST_SEGMENT = 2  # of a JPEG
TIFF_SIDES = (256, 257)  # tags of width and height
TIFF_SUBFILE_TYPE, TIFF_BITS_PER_SAMPLE, TIFF_ORIENTATION, DNG_VERSION = 254, 258, 274, 50706
HALF_OPAQUE = 128
DEEP = 16  # bits; of such levels the upper byte is what training and detection see
MAX_DARK_BITS = 14  # an image that uses no more of 16 bits has no grey level above 63 of 255
TIFF_PREVIEW = 1  # bit of `NewSubfileType`


class TooManyPixelsError(ValueError):
    """An image with more pixels than are read."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        super().__init__(
            f"has {_mega(width * height)} megapixels; more than {_mega(max_pixels)} are not read: "
            "cut it into tiles, or raise max_pixels (--max-pixels)"
        )


class LimitOfPillowError(TooManyPixelsError):
    """An image with more pixels than Pillow reads of its format, at any `max_pixels`."""

    def __init__(self, name: str) -> None:
        ValueError.__init__(
            self,
            f"it, or a part of it, has more than {_mega(MAX_PIXELS)} megapixels; no such {name} "
            "file is read: cut it into tiles, or convert it to PNG",
        )


def _mega(pixels: int) -> str:
    return f"{pixels / MEGA:.0f}" if pixels >= 10 * MEGA else f"{pixels / MEGA:.3g}"


@dataclass(frozen=True)
class ImageHeader:
    """What the head of an image file says; height and width are those of the stored pixels."""

    format: str  # name of a row of `image_formats.FORMATS`
    height: int
    width: int
    orientation: int  # by EXIF, 1 to 8
    bit_depth: int = 8
    is_animated: bool = False  # the first of its images is read

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after EXIF has turned the image."""
        if self.orientation in TRANSPOSED_ORIENTATIONS:
            return self.width, self.height
        return self.height, self.width

    @property
    def is_handed_on(self) -> bool:
        """Whether the pipeline decodes the format; readers convert other formats to PNG."""
        return self.format in (JPEG.name, PNG.name)


class DecodedImage(NamedTuple):
    """Upright RGB pixels uint8 [H, W, 3] of a file, and how many of 16 bits its levels use."""

    pixels: np.ndarray
    used_bits: int


def read_image(path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Returns the upright RGB pixels of an image file, uint8 [H, W, 3], as the pipeline's."""
    try:
        return decode_image_file(path, max_pixels).pixels
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def decode_image_file(source: str | bytes, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decodes an image file, by its path or its bytes.

    Raises `ValueError`, or `FileNotFoundError` where there is none.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_image_file(source) as file:
        image, header = open_image(file, max_pixels)
        image = load_stored(image, header)
        bits = used_bits(image, header)
        return DecodedImage(np.array(turned(to_rgb(image), header.orientation)), bits)


def decode_turned(encoded: bytes, orientation: int) -> np.ndarray:
    """Returns RGB pixels uint8 [H, W, 3] of encoded bytes, turned as given and not as stored."""
    image, header = open_image(io.BytesIO(encoded), sys.maxsize)
    return np.array(turned(to_rgb(load_stored(image, header)), orientation))


def decode_pillow(image: Image.Image) -> DecodedImage:
    """Returns the pixels of an image of Pillow as `decode_image_file` gives those of its file."""
    try:
        image.load()  # of TIFF files, Pillow turns it here
    except Exception as error:
        raise ValueError(f"its pixels cannot be decoded ({_reason(error)})") from error
    orientation = _exif_orientation(image)
    if image.format == "PPM":
        image = with_deep_levels(image)
    bits = DEEP
    if image.mode.startswith("I;16"):
        bits = int(np.asarray(image).max(initial=0)).bit_length()
    turn = int(orientation) if orientation in TURNS else 1
    return DecodedImage(np.array(turned(to_rgb(image), turn)), bits)


def open_image_file(path: str) -> BinaryIO:
    """Opens an image file; raises `FileNotFoundError` where there is none."""
    if not os.path.isfile(path):
        raise FileNotFoundError("the image is missing; expected a file there")
    return open(path, "rb")


def read_header(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Reads both ends of an image file; raises `ValueError` where one is damaged."""
    return open_image(file, max_pixels)[1]


def open_image(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, ImageHeader]:
    """Returns an image whose pixels are not decoded yet, and its header.

    Of EXIF data in a PNG, only what stands before the pixels counts.
    """
    file.seek(0)
    head = file.read(HEAD_SIZE)
    error = unknown_format(head)
    for row in find_formats(head):
        try:
            image = _open_as(row, file)
            position = file.tell()  # of a JPEG: where its first scan begins
            header = _header_of(row, image, file)
        except UnreadFormatError:
            raise
        except Image.DecompressionBombError as cause:
            raise LimitOfPillowError(row.name) from cause
        # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken headers.
        except Exception as cause:
            if not _is_whole(row, file, position=FIRST_SEGMENT):
                raise _cut_off(row) from cause
            if has_signature(row) and not isinstance(error, UnreadFormatError):
                error = _bad_header(row, cause)
            continue
        if header.height * header.width > max_pixels:
            raise TooManyPixelsError(header.width, header.height, max_pixels)
        if not _is_whole(row, file, position):
            raise _cut_off(row)
        file.seek(position)
        return image, header
    raise error


def load_stored(image: Image.Image, header: ImageHeader) -> Image.Image:
    """Decodes the pixels of an opened image as they are stored; raises `ValueError`."""
    try:
        if header.format == "TIFF":
            # Pillow would check the size once more, by its own limit.
            image.im = Image.core.new(image.mode, (header.width, header.height))
        image.load()
        if header.format == "TIFF":  # Pillow has turned it
            inverse = INVERSE_ORIENTATIONS.get(header.orientation, header.orientation)
            image = turned(image, inverse)
        if image.size != (header.width, header.height):
            raise ValueError(f"it has {image.width}x{image.height} pixels, not as its header says")
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken files.
    except Exception as error:
        raise ValueError(f"its pixels cannot be decoded ({_reason(error)})") from error
    return with_deep_levels(image) if header.format == "PPM" else image


def with_deep_levels(image: Image.Image) -> Image.Image:
    """Returns an image of a PPM file, whose levels Pillow scales to 16 of 32 bits, in 16 bits."""
    if image.mode != "I":
        return image
    return Image.fromarray(np.asarray(image).astype(np.uint16))


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns an image of any mode in RGB with 8 bits, without transparency.

    Of 16-bit grey levels the upper byte is kept; raises `ValueError` for levels of 32 bits.
    """
    if image.mode in ("I", "F"):
        kind = "whole numbers" if image.mode == "I" else "floats"
        raise UnreadFormatError(
            f"its grey levels are {kind} of 32 bits, whose black and white are unknown; scale them "
            "to 8 bits by the sensor's range, the same for all images"
        )
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    if image.mode == "P":  # without the detour Pillow warns of palettes with transparent colours
        image = image.convert("RGBA")
    return image.convert("RGB")


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Turns stored pixels as their EXIF orientation, 1 to 8, says."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def to_png(image: Image.Image, orientation: int) -> bytes:
    """Encodes stored pixels without loss: 16-bit grey levels, transparency and EXIF turn stay."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("1", "L"):
        image = to_rgb(image)
    exif = Image.Exif()
    if orientation != 1:
        exif[EXIF_ORIENTATION] = orientation
    encoded = io.BytesIO()
    # A colour profile may be one of other colours, such as CMYK; no decoder here uses it.
    image.save(encoded, "PNG", exif=exif, icc_profile=None, compress_level=1)
    return encoded.getvalue()


def used_bits(image: Image.Image, header: ImageHeader) -> int:
    """Returns how many of 16 bits the levels of a decoded image use; 16 for images of 8 bits.

    Up to `MAX_DARK_BITS` it is nearly black: cameras store 10, 12 or 14 bits so.
    """
    if header.bit_depth < DEEP:
        return DEEP
    if image.mode.startswith("I;16"):
        return int(np.asarray(image).max()).bit_length()
    # Pillow has kept the upper bytes.
    return 8 + int(np.asarray(image.convert("RGB")).max()).bit_length()


def see_through_share(image: Image.Image) -> float:
    """Returns the share of pixels that are more than half transparent, 0..1."""
    if not image.has_transparency_data:
        return 0.0
    counts = image.convert("RGBA").getchannel("A").histogram()
    return sum(counts[:HALF_OPAQUE]) / (image.width * image.height)


def _open_as(row: ImageFormat, file: BinaryIO) -> Image.Image:
    """Opens a file as one format, without the warnings of `Image.open` about sizes and MPO."""
    file.seek(0)
    if row is JPEG:
        return JpegImageFile(file)
    if row is PNG:
        return PngImageFile(file)
    return Image.OPEN[row.pillow_name][0](file, "")


def _header_of(row: ImageFormat, image: Image.Image, file: BinaryIO) -> ImageHeader:
    width, height = image.size
    bit_depth = DEEP if image.mode.startswith("I;16") else 8
    if isinstance(image, TiffImageFile):
        orientation = image.tag_v2.get(TIFF_ORIENTATION, 1)
        # From version 11 on, Pillow gives the size after the turn.
        width, height = (int(image.tag_v2[tag]) for tag in TIFF_SIDES)
        is_preview = image.tag_v2.get(TIFF_SUBFILE_TYPE, 0) & TIFF_PREVIEW
        if is_preview or DNG_VERSION in image.tag_v2:
            raise UnreadFormatError("a camera's raw file is not read; convert it to JPEG or PNG")
        bit_depth = max(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (bit_depth,)))
    else:
        orientation = _exif_orientation(image)
    if row is PNG:
        file.seek(PNG_SIGNATURE_SIZE)
        first_chunk = file.read(PNG_BIT_DEPTH + 1)
        if first_chunk[4:8] != b"IHDR":  # files of Xcode, whose pixels are encoded otherwise
            raise ValueError(f"its first chunk is {first_chunk[4:8]!r}; expected IHDR")
        bit_depth = max(8, first_chunk[PNG_BIT_DEPTH])
    if row.name == "PPM" and image.mode == "I":
        bit_depth = DEEP
    is_animated = row not in (JPEG, PNG) and getattr(image, "is_animated", False)
    if orientation not in range(1, 9):
        orientation = 1
    return ImageHeader(row.name, height, width, orientation, bit_depth, is_animated)


def _exif_orientation(image: Image.Image) -> object:
    """Returns the orientation of an image's EXIF data or XMP data, 1 where they are damaged."""
    if not EXIF_KEYS & image.info.keys():
        return 1
    try:
        # A PNG's own `getexif` decodes its pixels to look for EXIF data behind them.
        return Image.Image.getexif(image).get(EXIF_ORIENTATION, 1)
    except Exception:  # of Pillow's parsers of TIFF and XML: the pixels are sound
        return 1


def _is_whole(row: ImageFormat, file: BinaryIO, position: int) -> bool:
    """Whether a JPEG or PNG has its end mark; decoders of other formats look for theirs."""
    if row is JPEG:
        return has_jpeg_end(file, position)
    return has_png_end(file) if row is PNG else True


def _bad_header(row: ImageFormat, cause: Exception) -> ValueError:
    remedy = "" if row in (JPEG, PNG) else "; convert it to JPEG or PNG"
    return ValueError(f"the {row.name} header cannot be read ({_reason(cause)}){remedy}")


def _cut_off(row: ImageFormat) -> ValueError:
    return ValueError(f"the {row.name} file is cut off; expected its end mark, copy it again")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "a part of it has more pixels than are read"
    # Of others, such as struct.error, the words are about Pillow's code.
    if not isinstance(error.__cause__ or error, (OSError, SyntaxError, ValueError)):
        return "a part of it is missing or damaged"
    return " ".join(str(error).split())[:160] or type(error).__name__
