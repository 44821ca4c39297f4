"""Contact sheets: several images as one."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ssd_keras.drawing.draw import WHITE, _checked_image, _font, _shortened


def contact_sheet(
    images: Sequence[np.ndarray],
    *,
    columns: int = 4,
    cell_size: int | tuple[int, int] = 320,
    captions: Sequence[str] | None = None,
) -> np.ndarray:
    """Returns one image of many, row by row, each fitted into its cell with its own shape.

    Args:
        images: uint8 [height, width, 3] each, of any sizes; at least one.
        columns: cells in a row, default 4; fewer canvass make a narrower sheet.
        cell_size: pixels, a side or (height, width), default 320.
        captions: a line below each canvas, cut to its cell. Default None: no captions.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ValueError: no canvass, sizes below 1, or another number of captions than of canvass.
    """
    height, width = (cell_size, cell_size) if isinstance(cell_size, int) else cell_size
    if not len(images) or min(columns, height, width) < 1:
        raise ValueError(
            f"contact_sheet got {len(images)} canvass, columns={columns}, cell_size={cell_size}; "
            "expected at least 1 of each; leave the sheet out where there are no canvass"
        )
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"contact_sheet got {len(captions)} captions for {len(images)} canvass; expected one "
            "each; write an empty one where there is nothing to say"
        )
    gap, font_size = max(2, min(height, width) // 40), max(10, height // 20)
    strip = 0 if captions is None else sum(_font(font_size).getmetrics())
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    size = (columns * (width + gap) + gap, rows * (height + strip + gap) + gap)
    sheet = Image.new("RGB", size, (40, 40, 40))
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left = gap + index % columns * (width + gap)
        top = gap + index // columns * (height + strip + gap)
        canvas = Image.fromarray(_checked_image(image))
        scale = min(width / canvas.width, height / canvas.height)
        fitted = (max(1, int(canvas.width * scale)), max(1, int(canvas.height * scale)))
        corner = (left + (width - fitted[0]) // 2, top + (height - fitted[1]) // 2)
        sheet.paste(canvas.resize(fitted, Image.Resampling.LANCZOS), corner)
        if captions is not None:
            text = _shortened(captions[index], _font(font_size), width)
            draw.text((left, top + height), text, fill=WHITE, font=_font(font_size))
    return np.array(sheet)
