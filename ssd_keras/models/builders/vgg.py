"""SSD300 and SSD512 on VGG16, with the numbers of the paper."""

from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import Shapes
from ssd_keras.models.backbones import vgg
from ssd_keras.models.builders.common import CAFFE_PREPROCESSOR, make_default_boxes
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

# Sides of the default boxes in pixels, by input size and data set.
SSD_SIZES: dict[tuple[int, str], tuple[float, ...]] = {
    (300, "voc"): (30, 60, 111, 162, 213, 264, 315),
    (300, "coco"): (21, 45, 99, 153, 207, 261, 315),
    (512, "voc"): (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
    (512, "coco"): (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72),
}
SSD300_ASPECT_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
SSD512_ASPECT_RATIOS = ((2.0,), *((2.0, 3.0),) * 4, (2.0,), (2.0,))
SSD300_STEPS = (8, 16, 32, 64, 100, 300)
SSD512_STEPS = (8, 16, 32, 64, 128, 256, 512)

# Shrinks 5x5 to 3x3, and 3x3 to 1x1.
SSD300_UNPADDED_LAYER = ExtraLayer(128, 256, strides=1, padding=0)
SSD300_EXTRA_LAYERS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    SSD300_UNPADDED_LAYER,
    SSD300_UNPADDED_LAYER,
)
SSD512_EXTRA_LAYERS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256, kernel_size=4, strides=1, padding=1),
)


def ssd_vgg16(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    sizes: Sequence[float],
    *,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    steps: Sequence[float] | None = None,
    feature_maps: Sequence[int] | None = None,
    atrous: bool = True,
    normalize: bool = True,
    clip: str = "none",
    shapes: Shapes | None = None,
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssd_vgg16",
) -> SSD:
    """SSD on VGG16; the paper's ablations are arguments (section 3.2, tables 2 and 3).

    Args:
        image_size: height and width in pixels. Sizes below 500 get the extra layers of SSD300,
            others those of SSD512.
        class_names: names of the classes without background.
        sizes: side of the default boxes of each feature map in pixels, and one more.
        aspect_ratios: for each feature map; default those of SSD300 or SSD512. ``((2,),) * 6`` is
            the ablation without 3 and 1/3, ``((),) * 6`` the one with squares alone.
        steps: distance of cells of each feature map in pixels. Default those of SSD300 or SSD512
            at 300x300 or 512x512, else image / map.
        feature_maps: indices of the feature maps that get heads, counted from 0. Default all.
            `sizes`, `aspect_ratios` and `steps` describe these maps.
        atrous: dilated fc6. False is the ablation with the full fc6 and fc7, pool5 at stride 2
            and conv5_3 as a feature map. Default True.
        normalize: L2-normalise conv4_3. Default True.
        clip: "none", "size" or "corners"; see `DefaultBoxes`. Default "none".
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels, in
            place of those of `sizes` and `aspect_ratios`. Default None.
        post_process: `PostProcess`. Default the paper's.
        backbone_weights: None, "imagenet" or the path of a weights file. Default None, random.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_vgg16((300, 300), ["cat"], (30, 60, 111, 162, 213, 264, 315))
    >>> len(model.default_box_array)
    8732
    """
    is_large = min(image_size) >= 500
    extra_layers: tuple[ExtraLayer, ...] = SSD512_EXTRA_LAYERS if is_large else SSD300_EXTRA_LAYERS
    if not atrous:  # fc7 has half the size, so that one shrinking layer less is needed
        unpadded = SSD300_UNPADDED_LAYER
        extra_layers = extra_layers[:-1] if is_large else (extra_layers[0], unpadded, unpadded)
    is_paper_size = tuple(image_size) == ((512, 512) if is_large else (300, 300))
    if steps is None and is_paper_size and feature_maps is None:
        steps = SSD512_STEPS if is_large else SSD300_STEPS
    ratios = aspect_ratios or (SSD512_ASPECT_RATIOS if is_large else SSD300_ASPECT_RATIOS)
    return SSD(
        vgg.vgg16(image_size, atrous, normalize, backbone_weights),
        make_default_boxes(sizes, ratios, steps, clip, shapes),
        class_names,
        image_size,
        extra_layers,
        feature_maps,
        preprocessor=CAFFE_PREPROCESSOR,
        post_process=post_process,
        name=name,
    )
