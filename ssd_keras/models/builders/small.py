"""A small SSD that trains in minutes on a CPU, for demonstrations and tests."""

from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import Shapes
from ssd_keras.models.blocks import ConvStyle, conv
from ssd_keras.models.builders.common import make_default_boxes
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

SMALL_STYLE = ConvStyle(batch_norm=True, initializer="he_normal", momentum=0.9)
SMALL_EXTRA_LAYERS = (ExtraLayer(64, 128), ExtraLayer(64, 128))
SMALL_SCALES = (0.1, 0.22, 0.4, 0.62, 0.85)
SMALL_PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 64}


def ssd_small(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] = ((2.0,),) * 4,
    shapes: Shapes | None = None,
    width: int = 24,
    post_process: PostProcess | None = None,
    name: str = "ssd_small",
) -> SSD:
    """SSD on six convolutions, with feature maps at strides 8, 16, 32 and 64.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        sizes: side of the default boxes of each feature map in pixels, and one more. Default
            scales from 0.1 to 0.85 of the shorter side.
        aspect_ratios: for each feature map. Default (2,) everywhere.
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels, in
            place of those of `sizes` and `aspect_ratios`. Default None.
        width: channels of the first convolution; the others have 2, 4 and 8 times as many.
            Default 24.
        post_process: `PostProcess`. Default the paper's.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> ssd_small((192, 192), ["circle"]).feature_sizes
    ((24, 24), (12, 12), (6, 6), (3, 3))
    """
    image = keras.Input((*image_size, 3))
    x = conv(image, width, 3, "conv1", SMALL_STYLE, strides=2, padding=1)
    x = conv(x, 2 * width, 3, "conv2", SMALL_STYLE, strides=2, padding=1)
    x = conv(x, 4 * width, 3, "conv3_1", SMALL_STYLE, strides=2, padding=1)
    fine = conv(x, 4 * width, 3, "conv3_2", SMALL_STYLE, padding=1)
    x = conv(fine, 8 * width, 3, "conv4_1", SMALL_STYLE, strides=2, padding=1)
    coarse = conv(x, 8 * width, 3, "conv4_2", SMALL_STYLE, padding=1)
    backbone = keras.Model(image, [fine, coarse], name="small")
    return SSD(
        backbone,
        make_default_boxes(
            sizes or [scale * min(image_size) for scale in SMALL_SCALES],
            aspect_ratios,
            shapes=shapes,
        ),
        class_names,
        image_size,
        SMALL_EXTRA_LAYERS,
        style=SMALL_STYLE,
        preprocessor=SMALL_PREPROCESSOR,
        post_process=post_process,
        name=name,
    )
