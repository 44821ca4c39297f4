"""A quick look at image files: the head and the tail are read, no pixel is decoded."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from ssd_keras.core.files import lies_within
from ssd_keras.data.problems import BadDataError, ProblemKind
from ssd_keras.data.records import ImageSource, read_bytes

SIGNATURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM", "GIF": b"GIF8"}
KINDS = "JPEG, PNG, BMP or GIF"
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
# Cameras and tools pad files after the end mark: where a short tail fails, a long one is read.
TAIL_SIZES = (4096, 65536)
EXIF_ORIENTATION = 0x0112
TURNED_ORIENTATIONS = (5, 6, 7, 8)


@dataclass(frozen=True)
class ImageHeader:
    """Height and width of the stored pixels, and how EXIF (1 to 8) wants them turned."""

    height: int
    width: int
    orientation: int


def read_image_header(image: ImageSource) -> ImageHeader:
    """Looks at the two ends of an image."""
    if not isinstance(image, str):
        return _read_header(io.BytesIO(read_bytes(image)))
    if not os.path.isfile(image):
        raise FileNotFoundError("the image is missing; expected a file there")
    with open(image, "rb") as file:
        return _read_header(file)


def upright_size(header: ImageHeader) -> tuple[int, int]:
    """Height and width of an image after EXIF has turned it."""
    if header.orientation in TURNED_ORIENTATIONS:
        return header.width, header.height
    return header.height, header.width


def leaves_folder(name: str) -> bool:
    """Whether the name of a file, as annotations have it, leads out of its folder."""
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == ".."


def check_links(path: str, folders: Sequence[str]) -> None:
    """Refuses a file that lies elsewhere: the links in data from others may lead anywhere."""
    if not any(lies_within(path, folder) for folder in folders):
        raise BadDataError(ProblemKind.SYMBOLIC_LINK, folders[0])


def find_orientation(header: ImageHeader, height: int, width: int) -> int:
    """How the stored pixels must be turned to be the image that was annotated."""
    if (header.height, header.width) == (height, width):
        return 1
    is_swapped = (header.width, header.height) == (height, width)
    if is_swapped and header.orientation in TURNED_ORIENTATIONS:
        return header.orientation
    sizes = f"{header.width}x{header.height} pixels; expected {width}x{height}"
    raise BadDataError(ProblemKind.OTHER_SIZE, sizes)


def _read_header(file: BinaryIO) -> ImageHeader:
    head = file.read(8)
    if not head:
        raise _broken("the file is empty; expected an image")
    kind = next((kind for kind, mark in SIGNATURES.items() if head.startswith(mark)), "")
    if not kind:
        raise _broken(f"not an image (it starts with {head!r}); expected {KINDS}")
    if not _ends_properly(file, kind):
        raise _broken(f"the {kind} file is cut off; expected its end mark, copy it again")
    file.seek(0)
    try:
        with Image.open(file, formats=[kind]) as image:
            width, height = image.size
            # Only JPEG: Pillow decodes a whole PNG to look for EXIF data behind its pixels.
            exif = image.getexif() if kind == "JPEG" else {}
            orientation = exif.get(EXIF_ORIENTATION, 1)
            # TensorFlow takes the colour indices of such a BMP for grey levels.
            if kind == "BMP" and image.mode in ("1", "P"):
                raise ValueError("a BMP with a palette; save it as PNG")
            # TensorFlow gives the first image of a GIF alone, not the place it has in the whole.
            if kind == "GIF" and image.tile[0][1] != (0, 0, width, height):
                raise ValueError("its first image does not fill it; save it as PNG")
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken headers.
    except Exception as error:
        raise _broken(f"the {kind} header cannot be read ({error})") from error
    return ImageHeader(height, width, orientation if orientation in range(1, 9) else 1)


def _broken(detail: str) -> BadDataError:
    return BadDataError(ProblemKind.BROKEN_IMAGE, detail)


def _ends_properly(file: BinaryIO, kind: str) -> bool:
    size = file.seek(0, os.SEEK_END)
    if kind not in ("JPEG", "PNG"):
        return True
    for tail_size in TAIL_SIZES:
        file.seek(max(size - tail_size, 0))
        tail = file.read(tail_size)
        if kind == "PNG" and b"IEND" in tail:
            return True
        # An embedded thumbnail has an end mark too, but the image's own scan starts after it.
        if kind == "JPEG" and tail.rfind(JPEG_END) > tail.rfind(JPEG_START_OF_SCAN):
            return True
    return False
