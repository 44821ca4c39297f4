"""SSD300 and SSD512 on VGG16, with the numbers of the paper."""

import dataclasses
from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.text import unknown_name
from ssd_keras.models.backbones import vgg
from ssd_keras.models.builders.common import CAFFE_PREPROCESSOR, BuilderOptions
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class VGG16Options(BuilderOptions):
    """Options of `ssd_vgg16`; the paper's ablations are among them (section 3.2, tables 2 and 3).

    Args:
        sizes: side of the default boxes of each feature map in pixels, and one more; or the data
            set whose sizes the paper gives, "voc" or "coco". Default "voc".
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
    """

    sizes: Sequence[float] | str = "voc"
    aspect_ratios: Sequence[Sequence[float]] | None = None
    steps: Sequence[float] | None = None
    feature_maps: Sequence[int] | None = None
    atrous: bool = True
    normalize: bool = True
    clip: str = "none"


def ssd_vgg16(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: VGG16Options | None = None,
    *,
    name: str = "ssd_vgg16",
) -> SSD:
    """SSD300 or SSD512 on VGG16.

    Args:
        image_size: height and width in pixels. Sizes below 500 get the extra layers of SSD300,
            others those of SSD512.
        class_names: names of the classes without background.
        options: `VGG16Options`. Default the paper's on VOC.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_vgg16((300, 300), ["cat"], VGG16Options(sizes="coco"))
    >>> len(model.default_box_array)
    8732
    """
    options = options or VGG16Options()
    is_large = min(image_size) >= 500
    extra_layers: tuple[ExtraLayer, ...] = SSD512_EXTRA_LAYERS if is_large else SSD300_EXTRA_LAYERS
    if not options.atrous:  # fc7 has half the size, so that one shrinking layer less is needed
        unpadded = SSD300_UNPADDED_LAYER
        extra_layers = extra_layers[:-1] if is_large else (extra_layers[0], unpadded, unpadded)
    is_paper_size = tuple(image_size) == ((512, 512) if is_large else (300, 300))
    steps = options.steps
    if steps is None and is_paper_size and options.feature_maps is None:
        steps = SSD512_STEPS if is_large else SSD300_STEPS
    return options.build(
        vgg.vgg16(image_size, options.atrous, options.normalize, options.backbone_weights),
        class_names,
        image_size,
        neck=ExtraLayers(extra_layers, feature_maps=options.feature_maps),
        head=SSDHead(),
        default_boxes=DefaultBoxes.paper(
            paper_sizes(options.sizes, 512 if is_large else 300),
            options.aspect_ratios or (SSD512_ASPECT_RATIOS if is_large else SSD300_ASPECT_RATIOS),
            steps,
            clip=options.clip,
        ),
        preprocessor=CAFFE_PREPROCESSOR,
        name=name,
    )


def paper_sizes(sizes: Sequence[float] | str, side: int) -> Sequence[float]:
    """Returns sizes; a name stands for the paper's of SSD300 or SSD512 on that data set."""
    if not isinstance(sizes, str):
        return sizes
    known = [data_set for size, data_set in SSD_SIZES if size == side]
    if sizes not in known:
        raise ValueError(unknown_name("sizes", sizes, known) + " Or pass numbers of pixels.")
    return SSD_SIZES[side, sizes]
