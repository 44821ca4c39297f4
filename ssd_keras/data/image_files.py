"""Reads size and orientation of annotated images; converts other formats than JPEG and PNG."""

import hashlib
import io
import os
import uuid
from collections.abc import Sequence
from typing import BinaryIO

from ssd_keras.core.downloads import CACHE_VARIABLE, cache_directory
from ssd_keras.core.files import disk_errors, lies_within, replacing
from ssd_keras.core.image_formats import UnreadFormatError
from ssd_keras.core.images import (
    MAX_PIXELS,
    ImageHeader,
    TooManyPixelsError,
    load_stored,
    open_image,
    open_image_file,
    read_header,
    to_png,
)
from ssd_keras.data.image_sources import ConvertedImage, ImageSource, StoredImage, read_bytes
from ssd_keras.data.problems import BadDataError, ProblemKind

CACHE_FOLDER = "images"


def read_image_header(image: ImageSource, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Returns the header of an image; raises `BadDataError` where either end is damaged."""
    try:
        with open_source(image) as file:
            return read_header(file, max_pixels)
    except ValueError as error:
        raise image_error(error) from error


def convert_image(image: StoredImage, max_pixels: int = MAX_PIXELS) -> ConvertedImage:
    """Returns an image as PNG in the cache; raises `BadDataError` where it cannot be decoded.

    Another `ValueError` says that the cache cannot be written.
    """
    encoded = read_bytes(image)
    name = f"{hashlib.sha256(encoded).hexdigest()}.png"
    path = os.path.join(cache_directory(), CACHE_FOLDER, name)
    if not os.path.isfile(path):
        try:
            opened, header = open_image(io.BytesIO(encoded), max_pixels)
            content = to_png(load_stored(opened, header), header.orientation)
        except ValueError as error:
            raise image_error(error) from error
        _write(path, content)
    return ConvertedImage(image, path)


def image_error(error: Exception) -> BadDataError:
    """Returns what is wrong with an image, from the error of opening or decoding it."""
    if isinstance(error, UnreadFormatError):
        return BadDataError(ProblemKind.UNREAD_FORMAT, str(error), group=str(error))
    is_large = isinstance(error, TooManyPixelsError)
    return BadDataError(ProblemKind.TOO_LARGE if is_large else ProblemKind.BROKEN_IMAGE, str(error))


def open_source(image: ImageSource) -> BinaryIO:
    """Opens the encoded bytes of an image; raises `FileNotFoundError` where the file is gone."""
    return open_image_file(image) if isinstance(image, str) else io.BytesIO(read_bytes(image))


def _write(path: str, content: bytes) -> None:
    """Writes a file of the cache; others may write the same one at the same time."""
    own = f"{path}.{uuid.uuid4().hex}"
    try:
        with disk_errors(path):
            with replacing(own) as temporary, open(temporary, "wb") as file:
                file.write(content)
            os.replace(own, path)
    except ValueError as error:
        words = str(error).rstrip(".")
        raise ValueError(f"{words}: {CACHE_VARIABLE} names the folder of the cache") from error


def leaves_folder(name: str) -> bool:
    """Whether a file name of an annotation leads out of the folder that it is relative to."""
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == ".."


def check_links(path: str, folders: Sequence[str]) -> None:
    """Refuses a path that symbolic links lead out of all folders: data come from strangers."""
    if not any(lies_within(path, folder) for folder in folders):
        raise BadDataError(ProblemKind.SYMBOLIC_LINK, folders[0])


def find_orientation(header: ImageHeader, height: int, width: int) -> int:
    """Returns the EXIF orientation that turns the stored pixels into the annotated image.

    Where both have its size, viewers and most annotation tools show it upright.
    """
    if header.upright_size == (height, width):
        return header.orientation
    if (header.height, header.width) == (height, width):
        return 1
    sizes = f"{header.width}x{header.height} pixels; expected {width}x{height}"
    raise BadDataError(ProblemKind.OTHER_SIZE, sizes)
