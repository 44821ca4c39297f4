"""Preprocessing and default boxes that several builders share."""

from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes

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
) -> DefaultBoxes:
    """`DefaultBoxes` of sequences of any type."""
    ratios = tuple(tuple(each) for each in aspect_ratios)
    return DefaultBoxes(tuple(sizes), ratios, None if steps is None else tuple(steps), clip=clip)
