"""Reads size and orientation of annotated images, without decoding pixels."""

import io
import os
from collections.abc import Sequence

from ssd_keras.core.files import lies_within
from ssd_keras.core.images import ImageHeader, open_image_file, read_header
from ssd_keras.data.image_sources import ImageSource, read_bytes
from ssd_keras.data.problems import BadDataError, ProblemKind


def read_image_header(image: ImageSource) -> ImageHeader:
    """Returns the header of an image; raises `BadDataError` where either end is damaged."""
    content = open_image_file(image) if isinstance(image, str) else io.BytesIO(read_bytes(image))
    try:
        with content as file:
            return read_header(file)
    except ValueError as error:
        raise BadDataError(ProblemKind.BROKEN_IMAGE, str(error)) from error


def leaves_folder(name: str) -> bool:
    """Whether a file name of an annotation leads out of the folder that it is relative to."""
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == ".."


def check_links(path: str, folders: Sequence[str]) -> None:
    """Refuses a path that symbolic links lead out of all folders: data come from strangers."""
    if not any(lies_within(path, folder) for folder in folders):
        raise BadDataError(ProblemKind.SYMBOLIC_LINK, folders[0])


def find_orientation(header: ImageHeader, height: int, width: int) -> int:
    """Returns the EXIF orientation that turns the stored pixels into the annotated image."""
    if (header.height, header.width) == (height, width):
        return 1
    if header.upright_size == (height, width):
        return header.orientation
    sizes = f"{header.width}x{header.height} pixels; expected {width}x{height}"
    raise BadDataError(ProblemKind.OTHER_SIZE, sizes)
