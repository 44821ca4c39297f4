"""Preprocessing and default boxes that several builders share."""

import dataclasses
from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes, Shapes

# The paper's: the mean of ImageNet is subtracted, blue comes first. `keras.applications`' VGG16
# and ResNet50 expect nearly the same (123.68, 116.779, 103.939).
CAFFE_PREPROCESSOR = {"mean": (123.0, 117.0, 104.0), "channel_order": "bgr"}
# Images in -1..1, for MobileNets.
UNIT_PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 127.5}
# Mean and standard deviation of ImageNet's channels, for torchvision's ResNets.
IMAGENET_PREPROCESSOR = {
    "mean": (123.675, 116.28, 103.53),
    "scale": (1 / 58.395, 1 / 57.12, 1 / 57.375),
}


def make_default_boxes(
    sizes: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    steps: Sequence[float] | None = None,
    clip: str = "none",
    shapes: Shapes | None = None,
) -> DefaultBoxes:
    """Returns the paper's `DefaultBoxes`, or with their steps those of other shapes."""
    boxes = DefaultBoxes.paper(sizes, aspect_ratios, steps, clip=clip)
    return boxes if shapes is None else dataclasses.replace(boxes, shapes=shapes)
