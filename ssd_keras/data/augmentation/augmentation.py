"""The record that says how training images are augmented; it needs neither Keras nor TensorFlow."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from ssd_keras.core.records import check_ranges
from ssd_keras.core.text import unknown_name
from ssd_keras.data.augmentation.registry import make_step
from ssd_keras.data.endless import ENDLESS

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
        scale_jitter: smallest and largest factor by which the image is scaled; the factor is drawn
            log-uniform, for example from (0.5, 1.5). A smaller image lies at a random place on a
            canvas of the mean colour; of a larger image a random part shows. It comes after
            zoom-out and before the crop, which are usually False then. Default None: no scaling.
        aspect_jitter: the ratio of width to height is multiplied by a factor that is drawn
            log-uniform between 1 / aspect_jitter and aspect_jitter, at least 1. Default 1: kept.
        crop: crop by the paper's seven samplers. Default True.
        flip: mirror left and right with probability 0.5. Default True.
        flip_vertical: mirror top and bottom with probability 0.5, for images without an upright
            direction, such as those of a microscope. Default False.
        min_visible: smallest share of an object's area, 0..1, that must show after scaling and
            cropping for the object to stay. 0.25 keeps large objects of which the centre is cut
            off, and which would be learned as background. Default None: the paper's rule, that
            its centre shows.
        mosaic: probability, 0..1, that parts of four images make the input, about a point within
            its middle half, in place of zoom-out and crop. Each is scaled by `scale_jitter`, or by
            0.5 to 1 without it, and mirrored and distorted by itself. Images come in groups of
            eight of the stream, whose mosaics share what is decoded. Default 0.
        mixup: probability, 0..1, that an input is blended with another one of its group, by a
            weight of the distribution Beta(8, 8); it has the objects of both. Default 0.
        strong_share: share of the training, 0..1, in which there are mosaic and mixup. Default
            0.85: the last 15 % learn from single images; 1: to the end.
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
    scale_jitter: tuple[float, float] | None = None
    aspect_jitter: float = 1.0
    crop: bool = True
    flip: bool = True
    flip_vertical: bool = False
    min_visible: float | None = None
    mosaic: float = 0.0
    mixup: float = 0.0
    strong_share: float = 0.85
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
        check_ranges(self, shares=["mosaic", "mixup", "strong_share"])
        if self.min_visible is not None:
            check_ranges(self, shares=["min_visible"])
        if not 1 <= self.aspect_jitter < math.inf:
            raise ValueError(f"aspect_jitter={self.aspect_jitter} must be 1 or more.")
        if self.scale_jitter is not None:
            low, high = self.scale_jitter
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    f"scale_jitter={self.scale_jitter} must be two factors above 0, the smaller "
                    "one first."
                )

    def strong_steps(self, total_steps: int | None) -> int:
        """Returns the number of steps with mosaic and mixup; without a total it has no end."""
        if total_steps is None or self.strong_share == 1:
            return ENDLESS
        return round(self.strong_share * total_steps)

    @property
    def mixes_images(self) -> bool:
        """Whether an input may hold several images."""
        return self.mosaic > 0 or self.mixup > 0

    @property
    def max_images(self) -> int:
        """The largest number of images that an input holds."""
        return (4 if self.mosaic else 1) * (2 if self.mixup else 1)
