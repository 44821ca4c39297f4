"""Contact sheets: many images in one."""

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras.drawing.draw import WHITE, checked_image
from ssd_keras.drawing.fonts import TextFont, shortened, warn_of_missing

NOTEBOOK_SIDE = 1280  # pixels; the PNG of a whole photo would have ten megabytes
MAX_CELLS = 16  # of a sheet in a notebook

Item = TypeVar("Item")


def contact_sheet(
    images: Sequence[np.ndarray],
    *,
    columns: int = 4,
    cell_size: int | tuple[int, int] = 320,
    captions: Sequence[str] | None = None,
    title: str = "",
) -> np.ndarray:
    """Returns one image of many, row by row, each fitted into its cell with its aspect ratio.

    Args:
        images: uint8 [height, width, 3] each, of any sizes; at least one.
        columns: cells in a row. Default 4; fewer images make a narrower sheet.
        cell_size: pixels, a side or (height, width). Default 320.
        captions: a line below each image, cut to its cell. Default None: no captions.
        title: a line above all images, cut to the sheet. Default "": no title.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ValueError: no images, sizes below 1, or another number of captions than of images.

    Example:
        >>> images = [np.zeros((40, 60, 3), np.uint8)] * 3
        >>> contact_sheet(images, columns=2, cell_size=50).shape
        (106, 106, 3)
    """
    height, width = (cell_size, cell_size) if isinstance(cell_size, int) else cell_size
    if not len(images) or min(columns, height, width) < 1:
        raise ValueError(
            f"contact_sheet got {len(images)} images, columns={columns}, cell_size={cell_size}; "
            "expected at least 1 of each; leave the sheet out where there are no images"
        )
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"contact_sheet got {len(captions)} captions for {len(images)} images; expected one "
            "each; pass empty captions where there is nothing to say"
        )
    gap, font_size = max(2, min(height, width) // 40), max(10, height // 20)
    font = TextFont(font_size)
    strip, heading = 0 if captions is None else font.height, font.height + gap if title else 0
    warn_of_missing((title, *(captions or ())))
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    size = (columns * (width + gap) + gap, heading + rows * (height + strip + gap) + gap)
    sheet = Image.new("RGB", size, (40, 40, 40))
    draw = ImageDraw.Draw(sheet)
    if title:
        font.draw(draw, (gap, gap), shortened(title, font, size[0] - 2 * gap), fill=WHITE)
    for index, image in enumerate(images):
        left = gap + index % columns * (width + gap)
        top = heading + gap + index // columns * (height + strip + gap)
        canvas = Image.fromarray(checked_image(image))
        scale = min(width / canvas.width, height / canvas.height)
        fitted = (max(1, int(canvas.width * scale)), max(1, int(canvas.height * scale)))
        corner = (left + (width - fitted[0]) // 2, top + (height - fitted[1]) // 2)
        sheet.paste(canvas.resize(fitted, Image.Resampling.LANCZOS), corner)
        if captions is not None:
            text = shortened(captions[index], font, width)
            font.draw(draw, (left, top + height), text, fill=WHITE)
    return np.array(sheet)


def sheet_of_first(
    items: Sequence[Item],
    draw: Callable[[Item], Image.Image],
    name: Callable[[Item], object],
    total: int,
) -> Image.Image | None:
    """Returns a sheet of the first items of a total; None where none of them has an image.

    The last caption begins with how many more items there are.
    """
    drawings, captions = [], []
    for item in items[:MAX_CELLS]:
        with contextlib.suppress(ValueError, OSError):  # an image that is missing or broken
            drawings.append(np.asarray(draw(item)))
            captions.append(str(name(item)))
    if not drawings:
        return None
    if total > MAX_CELLS:
        captions[-1] = f"(+{total - MAX_CELLS} more) {captions[-1]}"
    return Image.fromarray(contact_sheet(drawings, captions=captions))


def notebook_png(image: Image.Image) -> bytes:
    """Returns an image as PNG, small enough for a notebook."""
    image.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
