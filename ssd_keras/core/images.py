"""Image files: their headers, their ends and their pixels."""

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
SIGNATURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM", "GIF": b"GIF8"}
JPEG_START_OF_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
# Cameras and tools pad files after the end mark: where a short tail fails, a long one is read.
TAIL_SIZES = (4096, 65536)
EXIF_ORIENTATION = 0x0112
TRANSPOSED_ORIENTATIONS = (5, 6, 7, 8)


@dataclass(frozen=True)
class ImageHeader:
    """Format, height and width of the stored pixels, and their EXIF orientation, 1 to 8."""

    format: str
    height: int
    width: int
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width after EXIF has turned the image."""
        if self.orientation in TRANSPOSED_ORIENTATIONS:
            return self.width, self.height
        return self.height, self.width


def read_image(path: str) -> np.ndarray:
    """Returns the upright RGB pixels of an image file, uint8 [H, W, 3], as TensorFlow's decoders.

    TensorFlow would take twice the time for a single image.
    """
    try:
        with open_image_file(path) as file:
            header = read_header(file)
            image: Image.Image = Image.open(file, formats=[header.format])
            if image.mode.startswith("I"):  # grey levels of 16 bits; `convert` would clip them
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if header.orientation != 1:
                image = ImageOps.exif_transpose(image)
            pixels = np.array(image.convert("RGB"))
            if header.format == "GIF":  # TensorFlow makes transparent pixels black
                pixels[np.asarray(image.convert("RGBA"))[..., 3] == 0] = 0
            return pixels
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken files.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: cannot be read as an image ({reason})") from error


def open_image_file(path: str) -> BinaryIO:
    """Opens an image file; raises `FileNotFoundError` where there is none."""
    if not os.path.isfile(path):
        raise FileNotFoundError("the image is missing; expected a file there")
    return open(path, "rb")


def read_header(file: BinaryIO) -> ImageHeader:
    """Reads both ends of an image file; raises `ValueError` where one is damaged."""
    head = file.read(8)
    if not head:
        raise ValueError("the file is empty; expected an image")
    kind = next((kind for kind, mark in SIGNATURES.items() if head.startswith(mark)), "")
    if not kind:
        names = ", ".join(SIGNATURES)
        raise ValueError(f"not an image (it starts with {head!r}); expected {names}")
    if not _has_end(file, kind):
        raise ValueError(f"the {kind} file is cut off; expected its end mark, copy it again")
    file.seek(0)
    try:
        image = Image.open(file, formats=[kind])
        width, height = image.size
        # Only JPEG: Pillow decodes a whole PNG to look for EXIF data behind its pixels.
        exif = image.getexif() if kind == "JPEG" else {}
        orientation = exif.get(EXIF_ORIENTATION, 1)
        # TensorFlow takes the colour indices of such a BMP for grey levels.
        if kind == "BMP" and image.mode in ("1", "P"):
            raise ValueError("a BMP with a palette; save it as PNG")
        # TensorFlow returns the first frame of a GIF alone, without its offset in the canvas.
        if kind == "GIF" and image.tile[0][1] != (0, 0, width, height):
            raise ValueError("its first image does not fill it; save it as PNG")
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken headers.
    except Exception as error:
        raise ValueError(f"the {kind} header cannot be read ({error})") from error
    return ImageHeader(kind, height, width, orientation if orientation in range(1, 9) else 1)


def _has_end(file: BinaryIO, kind: str) -> bool:
    """Whether a JPEG or PNG ends with its end mark; other formats have none."""
    if kind not in ("JPEG", "PNG"):
        return True
    size = file.seek(0, io.SEEK_END)
    for tail_size in TAIL_SIZES:
        file.seek(max(size - tail_size, 0))
        tail = file.read(tail_size)
        if kind == "PNG" and b"IEND" in tail:
            return True
        # An embedded thumbnail has an end mark too, but the image's own scan starts after it.
        if kind == "JPEG" and tail.rfind(JPEG_END) > tail.rfind(JPEG_START_OF_SCAN):
            return True
    return False
