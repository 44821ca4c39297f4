"""Sides of the default boxes in pixels, of the paper."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


VOC300_SIZES = (30, 60, 111, 162, 213, 264, 315)


COCO300_SIZES = (21, 45, 99, 153, 207, 261, 315)


VOC512_SIZES = (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6)


COCO512_SIZES = (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72)
