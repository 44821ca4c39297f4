"""SSD300 and SSD512 on VGG16, with the numbers of the paper."""

from collections.abc import Sequence

from ssd_keras.models.backbones import vgg
from ssd_keras.models.builders.common import CAFFE_PREPROCESSOR, _chosen_boxes
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

SHRINK = ExtraLayer(128, 256, strides=1, padding=0)


VGG300_EXTRAS = (ExtraLayer(256, 512), ExtraLayer(128, 256), SHRINK, SHRINK)


VGG512_EXTRAS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256, kernel_size=4, strides=1, padding=1),
)


SSD300_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))


SSD512_RATIOS = ((2.0,), *((2.0, 3.0),) * 4, (2.0,), (2.0,))


SSD300_STEPS = (8, 16, 32, 64, 100, 300)


SSD512_STEPS = (8, 16, 32, 64, 128, 256, 512)


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
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssd_vgg16",
) -> SSD:
    """SSD on VGG16, with the paper's ablations as arguments (paper section 3.2, tables 2 and 3).

    Args:
        image_size: height and width in pixels. Below 500 the extra layers of SSD300 are taken,
            from there on those of SSD512.
        class_names: names of the classes without background.
        sizes: default box side of each map in pixels, and one more.
        aspect_ratios: for each map; default those of SSD300 or SSD512. ``((2,),) * 6`` is the
            ablation without 3 and 1/3, ``((),) * 6`` the one with squares alone.
        steps: cell distance of each map in pixels. Default those of SSD300 or SSD512 at their
            own size, else image / map.
        feature_maps: which maps get heads, counted from 0. Default all. `sizes`, `aspect_ratios` and
            `steps` are then those of the chosen maps.
        atrous: dilated fc6. Default True; see `vgg16` for what False means.
        normalize: L2-normalise conv4_3. Default True.
        clip: "none", "size" or "corners"; see `default_boxes`. Default "none".
        post_process: default the paper's.
        backbone_weights: None, "imagenet" or a path; see `vgg16`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_vgg16((300, 300), ["cat"], (30, 60, 111, 162, 213, 264, 315))
    >>> len(model.default_box_array)
    8732
    """
    large = min(image_size) >= 500
    extras: tuple[ExtraLayer, ...] = VGG512_EXTRAS if large else VGG300_EXTRAS
    if not atrous:  # the unpooled fc7 has half the size, so one shrinking layer less is needed
        extras = extras[:-1] if large else (VGG300_EXTRAS[0], SHRINK, SHRINK)
    native = tuple(image_size) == ((512, 512) if large else (300, 300))
    if steps is None and native and feature_maps is None:
        steps = SSD512_STEPS if large else SSD300_STEPS
    ratios = aspect_ratios or (SSD512_RATIOS if large else SSD300_RATIOS)
    boxes = _chosen_boxes(sizes, ratios, steps, clip)
    return SSD(
        vgg.vgg16(image_size, atrous, normalize, backbone_weights),
        boxes,
        class_names,
        image_size,
        extras,
        feature_maps,
        preprocessor=CAFFE_PREPROCESSOR,
        post_process=post_process,
        name=name,
    )
