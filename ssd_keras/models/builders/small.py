"""A small SSD that trains in minutes on a CPU, for demonstrations and tests."""

import dataclasses
from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.blocks import ConvStyle, conv
from ssd_keras.models.builders.common import BuilderOptions
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
from ssd_keras.models.ssd import SSD

SMALL_STYLE = ConvStyle(batch_norm=True, initializer="he_normal", momentum=0.9)
SMALL_EXTRA_LAYERS = (ExtraLayer(64, 128), ExtraLayer(64, 128))
SMALL_SCALES = (0.1, 0.22, 0.4, 0.62, 0.85)
SMALL_PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallOptions(BuilderOptions):
    """Options of `ssd_small`.

    Args:
        sizes: side of the default boxes of each feature map in pixels, and one more. Default
            None: scales from 0.1 to 0.85 of the shorter side.
        aspect_ratios: for each feature map. Default ((2.0,), (2.0,), (2.0,), (2.0,)).
        width: channels of the first convolution; the others have 2, 4 and 8 times as many.
            Default 24.
    """

    sizes: Sequence[float] | None = None
    aspect_ratios: Sequence[Sequence[float]] = ((2.0,),) * 4
    width: int = 24


def ssd_small(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: SmallOptions | None = None,
    *,
    name: str = "ssd_small",
) -> SSD:
    """SSD on six convolutions, with feature maps at strides 8, 16, 32 and 64.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `SmallOptions`. Default `SmallOptions()`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> ssd_small((192, 192), ["circle"]).feature_sizes
    ((24, 24), (12, 12), (6, 6), (3, 3))
    """
    options = options or SmallOptions()
    width = options.width
    image = keras.Input((*image_size, 3))
    x = conv(image, width, 3, "conv1", SMALL_STYLE, strides=2, padding=1)
    x = conv(x, 2 * width, 3, "conv2", SMALL_STYLE, strides=2, padding=1)
    x = conv(x, 4 * width, 3, "conv3_1", SMALL_STYLE, strides=2, padding=1)
    fine = conv(x, 4 * width, 3, "conv3_2", SMALL_STYLE, padding=1)
    x = conv(fine, 8 * width, 3, "conv4_1", SMALL_STYLE, strides=2, padding=1)
    coarse = conv(x, 8 * width, 3, "conv4_2", SMALL_STYLE, padding=1)
    sizes = options.sizes or [scale * min(image_size) for scale in SMALL_SCALES]
    return options.build(
        keras.Model(image, [fine, coarse], name="small"),
        class_names,
        image_size,
        neck=ExtraLayers(SMALL_EXTRA_LAYERS, SMALL_STYLE),
        head=SSDHead(SMALL_STYLE),
        default_boxes=DefaultBoxes.paper(sizes, options.aspect_ratios),
        preprocessor=SMALL_PREPROCESSOR,
        name=name,
    )
