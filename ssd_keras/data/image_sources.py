"""Where the encoded bytes of an image lie: in a file, in memory, or inside a larger file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileSlice:
    """An encoded image inside a larger file, such as a TFRecord: offset and length in bytes."""

    path: str
    offset: int
    length: int


ImageSource = str | bytes | FileSlice  # an encoded image: path of its file, bytes in memory, slice


def read_bytes(image: ImageSource) -> bytes:
    """Returns the encoded bytes of an image."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str):
        with open(image, "rb") as file:
            return file.read()
    with open(image.path, "rb") as file:
        file.seek(image.offset)
        return file.read(image.length)


def image_location(image: ImageSource, image_id: str | int) -> str:
    """Returns what names an image in messages: its path, or its id where it has none."""
    if isinstance(image, FileSlice):
        return f"{image.path}: image {image_id}"
    return image if isinstance(image, str) else str(image_id)
