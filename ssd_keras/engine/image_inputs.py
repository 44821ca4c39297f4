"""Images as notebooks have them: files, addresses, Pillow's, bytes, arrays, data sets."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL.Image import Image

from ssd_keras.core.downloads import download_bytes
from ssd_keras.core.images import MAX_DARK_BITS, DecodedImage, decode_image_file, decode_pillow
from ssd_keras.core.text import one_line
from ssd_keras.data.image_files import read_image_header
from ssd_keras.data.image_sources import original_of
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.records import Example
from ssd_keras.engine.image_arrays import is_array, rgb_pixels, to_numpy
from ssd_keras.engine.image_paths import find_images, is_address, is_pattern, unique_names

MAX_DOWNLOAD_BYTES = 100_000_000
MAX_DOWNLOAD_SECONDS = 60
IMAGE_KEYS = ("image", "images")  # of the dictionaries of data sets
EXPECTED = (
    "expected paths, addresses (https://...), Pillow's images, bytes of image files, or arrays "
    "[H, W, 3] in 0..255"
)


class LoadedImage(NamedTuple):
    """The RGB pixels [H, W, 3] of an image, and what a result keeps of it to draw on."""

    pixels: np.ndarray
    kept: np.ndarray | str | bytes


def list_images(images: Any) -> tuple[list[Any], bool]:
    """Returns the single images of an argument, and whether it is one image and not several."""
    if isinstance(images, str | os.PathLike):
        path = os.fspath(images)
        return _files_of(path), not (os.path.isdir(path) or is_pattern(path))
    if _is_single(images):
        return [images], True
    if is_array(images):
        images = to_numpy(images, "the array of images")
        if images.ndim != 4 and (images.ndim != 1 or images.dtype.kind in "buif"):
            return [images], True  # `load_image` checks its shape
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise ValueError(f"images are of the type {type(images).__name__}; {EXPECTED}.")
    several = [one for item in _elements(images) for one in item]
    if not several:
        raise ValueError("the list of images is empty; pass at least one image.")
    return several, False


def _files_of(path: Any) -> list[str]:
    path = os.fsdecode(path)
    if is_address(path):
        return [path]
    if "://" in path and not os.path.lexists(path):
        raise ValueError(
            f"{one_line(repr(path))} is an address of another kind; expected https:// or http://."
        )
    return find_images([path])


def _is_single(image: Any) -> bool:
    """Whether a value is one image by its type: encoded, of Pillow, an open file, an example."""
    kinds = bytes | bytearray | memoryview | Image | Example
    return isinstance(image, kinds) or callable(getattr(image, "read", None))


def _elements(images: Iterable[Any]) -> Iterator[Sequence[Any]]:
    """Yields the images of each item of a list: of a folder or a batch several."""
    count = 0
    if isinstance(images, tf.data.Dataset):
        if images.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError("the data set of images has no end; pass .take(n) of it.")
        images = map(_without_targets, images)
    for item in images:
        found = _images_of(item, count)
        count += len(found)
        yield found


def _images_of(item: Any, index: int) -> Sequence[Any]:
    if isinstance(item, str | os.PathLike):
        return _files_of(item)
    if _is_single(item):
        return [item]
    if is_array(item):
        array = to_numpy(item, f"image {index}")
        if array.dtype.kind in "OSU" and array.ndim < 2:  # strings of TensorFlow
            return [one for text in array.ravel().tolist() for one in _images_of(text, index)]
        return list(array) if array.ndim == 4 else [array]
    raise ValueError(f"image {index} is of the type {type(item).__name__}; {EXPECTED}.")


def _without_targets(element: Any) -> Any:
    """Returns the images of an element of a data set: images, (images, targets), a dictionary."""
    if isinstance(element, tuple) and element:
        element = element[0]
    if isinstance(element, Mapping):
        return next((element[key] for key in IMAGE_KEYS if key in element), element)
    return element


def image_ids(images: Sequence[Any]) -> list[str | int]:
    """Returns a name for each image that no other has: of files by their paths, else a number."""
    ids = [image.image_id if isinstance(image, Example) else i for i, image in enumerate(images)]
    rows = [index for index, image in enumerate(images) if isinstance(image, str)]
    others = {str(image_id) for row, image_id in enumerate(ids) if row not in set(rows)}
    for row, name in zip(rows, unique_names([images[row] for row in rows], others), strict=True):
        ids[row] = name
    return ids


def load_image(image: Any, index: int) -> LoadedImage:
    """Returns the pixels of an image of `list_images`; `index` is its number in messages."""
    name = image if isinstance(image, str) else f"image {index}"
    kept: str | bytes | None = image if isinstance(image, str) else None
    if isinstance(image, np.ndarray):
        pixels, bits = rgb_pixels(image, name)
    elif isinstance(image, Example):
        return _load_example(image)
    else:
        if not isinstance(image, str | Image):
            image = kept = _encoded(image, name)
        elif isinstance(image, str) and is_address(image):
            image = kept = download_bytes(image, MAX_DOWNLOAD_BYTES, MAX_DOWNLOAD_SECONDS)
        pixels, bits = _decode(image, name)
    if bits <= MAX_DARK_BITS:
        warnings.warn(str(Problem(ProblemKind.DARK, name, str(bits))), stacklevel=2)
    return LoadedImage(pixels, pixels if kept is None else kept)


def _encoded(image: Any, name: str) -> bytes:
    """Returns the bytes of an open file, or of another object that holds them."""
    content = image.read() if hasattr(image, "read") else image
    if isinstance(content, str):
        raise ValueError(f"{name} is a file that is open as text; open it with mode 'rb'.")
    return bytes(content)


def _decode(image: str | bytes | Image, name: str) -> DecodedImage:
    try:
        if not isinstance(image, Image):
            return decode_image_file(image)
        if not image.width * image.height:
            raise ValueError("is empty; expected at least one pixel")
        return decode_pillow(image)
    except (OSError, ValueError) as error:
        raise ValueError(f"{one_line(name)}: {error}") from error


def _load_example(example: Example) -> LoadedImage:
    """Returns an annotated image, which may be of the stored pixels and not of the turned ones."""
    pixels = example.read_image()
    if read_image_header(example.image).orientation != example.orientation:
        return LoadedImage(pixels, pixels)
    source = original_of(example.image)
    return LoadedImage(pixels, source if isinstance(source, str) else example.read())
