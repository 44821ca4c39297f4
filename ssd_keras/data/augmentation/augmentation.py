"""The record that says how training images are augmented; it needs neither Keras nor TensorFlow."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

from ssd_keras.core.text import unknown_name
from ssd_keras.data.augmentation.registry import make_step

ColorSpace = Literal["matrix", "hsv"]
COLOR_SPACES = get_args(ColorSpace)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which augmentations are applied. The defaults are the paper's, with zoom-out.

    Args:
        photometric: distort brightness, contrast, saturation and hue, each with probability 0.5.
            Default True.
        color_space: "matrix" (default) combines saturation and hue in one 3x3 matrix about the
            grey axis; "hsv" computes them in HSV as the paper's implementation does, slower.
        zoom_out: place the image on a larger canvas of the mean colour. Default True.
        zoom_out_probability: probability of zooming out, 0..1. Default 0.5.
        zoom_out_max: largest side of the canvas in sides of the image, at least 1. Default 4.
        crop: crop by the paper's seven samplers. Default True.
        flip: mirror left and right with probability 0.5. Default True.
        flip_vertical: mirror top and bottom with probability 0.5, for images without an upright
            direction, such as those of a microscope. Default False.
        random_resize: draw the resizing kernel of each image from linear, area, nearest, cubic
            and Lanczos, as the paper's implementation does. Default False: from linear and area
            alone, which are closest to what users resize with.
        before: steps on the whole decoded image, before ours: functions, objects such as
            `ssd_keras.data.augmentation.steps.QuarterTurns()`, or tables {"type": name, **options};
            see `register_augmentation_step`. With any step here every image is decoded as a whole,
            which costs time. Default: none.
        after: steps on the model's input, after ours. Default: none.

    Raises:
        ValueError: for an unknown colour space, a number out of range, or an unknown step.

    Example:

    >>> Augmentation(zoom_out=False, after=[{"type": "grey", "probability": 0.2}]).after
    (Grey(probability=0.2),)
    """

    photometric: bool = True
    color_space: ColorSpace = "matrix"
    zoom_out: bool = True
    zoom_out_probability: float = 0.5
    zoom_out_max: float = 4.0
    crop: bool = True
    flip: bool = True
    flip_vertical: bool = False
    random_resize: bool = False
    before: Sequence[Any] = ()
    after: Sequence[Any] = ()

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            object.__setattr__(self, name, tuple(map(make_step, getattr(self, name))))
        if self.color_space not in COLOR_SPACES:
            raise ValueError(unknown_name("color_space", self.color_space, COLOR_SPACES))
        if not self.zoom_out_max >= 1 or not 0 <= self.zoom_out_probability <= 1:
            raise ValueError(
                f"zoom_out_max={self.zoom_out_max} must be 1 or more, and "
                f"zoom_out_probability={self.zoom_out_probability} between 0 and 1."
            )
