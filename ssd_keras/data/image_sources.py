"""Where the encoded bytes of an image lie: in a file, in memory, or inside a larger file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileSlice:
    """An encoded image inside a larger file, such as a TFRecord: offset and length in bytes."""

    path: str
    offset: int
    length: int


StoredImage = str | bytes | FileSlice  # an encoded image: path of its file, bytes in memory, slice


@dataclass(frozen=True)
class ConvertedImage:
    """An image of another format than JPEG and PNG, and the PNG file that it was converted to."""

    original: StoredImage
    path: str


ImageSource = StoredImage | ConvertedImage


def read_bytes(image: ImageSource) -> bytes:
    """Returns the encoded bytes of an image; those of its PNG where it was converted."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | ConvertedImage):
        with open(image if isinstance(image, str) else image.path, "rb") as file:
            return file.read()
    with open(image.path, "rb") as file:
        file.seek(image.offset)
        return file.read(image.length)


def original_of(image: ImageSource) -> StoredImage:
    """Returns where the data set has an image."""
    return image.original if isinstance(image, ConvertedImage) else image


def image_location(image: ImageSource, image_id: str | int) -> str:
    """Returns what names an image in messages: its path, or its id where it has none."""
    original = original_of(image)
    if isinstance(original, FileSlice):
        return f"{original.path}: image {image_id}"
    return original if isinstance(original, str) else str(image_id)
