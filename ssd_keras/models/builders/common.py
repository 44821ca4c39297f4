"""What several builders share: preprocessing and default boxes."""

from ssd_keras.boxes.default_boxes import DefaultBoxes

CAFFE_PREPROCESSOR = {"mean": (123.0, 117.0, 104.0), "channel_order": "bgr"}
"""The paper's: mean of ImageNet subtracted, no scaling, blue first. `keras.applications`' VGG16
and ResNet50 want nearly the same (123.68, 116.779, 103.939)."""


UNIT_PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 127.5}
"""Images in -1..1, as the MobileNets want them."""


IMAGENET_PREPROCESSOR = {
    "mean": (123.675, 116.28, 103.53),
    "scale": (1 / 58.395, 1 / 57.12, 1 / 57.375),
}
"""Mean and standard deviation of ImageNet's channels, for ResNets trained in torchvision's way."""


def _chosen_boxes(sizes, aspect_ratios, steps, clip):
    ratios = tuple(tuple(each) for each in aspect_ratios)
    return DefaultBoxes(tuple(sizes), ratios, steps and tuple(steps), clip=clip)
