"""Presets: named models whose numbers are fixed, and how to build them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.class_names import COCO_CLASSES, COCO_CLASSES_BY_ID, SHAPE_CLASSES, VOC_CLASSES
from ssd_keras.importers.published import DETECTORS, Published

if TYPE_CHECKING:
    from ssd_keras.models import SSD
from ssd_keras.models.builders.paper_sizes import (
    COCO300_SIZES,
    COCO512_SIZES,
    VOC300_SIZES,
    VOC512_SIZES,
)

TRAINED_OPTIONS = ("image_size", "sizes", "new_rows")
"""What can be chosen anew of a trained detector; see `ssd_keras.models.with_classes`."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named model.

    Args:
        name: as given to `from_preset` and on the command line.
        builder: name of a function of `ssd_keras.models`; "" where the weights were published by
            others and bring their own numbers.
        image_size: height and width in pixels.
        class_names: the classes of its data set.
        num_default_boxes: how many default boxes it has.
        options: arguments that fix the builder's numbers.
        reported: what its paper or peers report, with the source.
        recipe: file under ``training/recipes`` that trains it; "" where others trained it.
        weights: what others published, or None: then the weights are random.
    """

    name: str
    builder: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    num_default_boxes: int
    options: Mapping[str, Any]
    reported: str
    recipe: str = ""
    weights: Published | None = None

    def __str__(self) -> str:
        height, width = self.image_size
        weights = f"; weights: {self.weights.licence}" if self.weights else ""
        return (
            f"{self.name}: {height}x{width}, {len(self.class_names)} classes, "
            f"{self.num_default_boxes} default boxes; reported: {self.reported}{weights}"
        )


def _published(name, size, class_names, num_default_boxes, reported):
    return Preset(
        name, "", (size, size), class_names, num_default_boxes, {}, reported,
        weights=DETECTORS[name],
    )  # fmt: skip


_LIST = (
    Preset(
        "ssd300_vgg16_voc", "ssd_vgg16", (300, 300), VOC_CLASSES, 8732,
        {"sizes": VOC300_SIZES},
        "VOC07 test mAP 74.3 on 07+12, 77.2 with zoom-out (arXiv 1512.02325)",
        "ssd300_voc0712.py",
    ),
    Preset(
        "ssd300_vgg16_coco", "ssd_vgg16", (300, 300), COCO_CLASSES, 8732,
        {"sizes": COCO300_SIZES},
        "COCO test-dev AP 25.1 with zoom-out (arXiv 1512.02325)",
        "ssd300_coco.py",
    ),
    Preset(
        "ssd512_vgg16_voc", "ssd_vgg16", (512, 512), VOC_CLASSES, 24564,
        {"sizes": VOC512_SIZES},
        "VOC07 test mAP 76.8 on 07+12, 79.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_voc0712.py",
    ),
    Preset(
        "ssd512_vgg16_coco", "ssd_vgg16", (512, 512), COCO_CLASSES, 24564,
        {"sizes": COCO512_SIZES},
        "COCO test-dev AP 28.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_coco.py",
    ),
    Preset(
        "ssd300_resnet18_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        {"sizes": COCO300_SIZES, "depth": 18},
        "no comparable published figure",
        "ssd300_resnet18_coco.py",
    ),
    Preset(
        "ssd300_resnet50_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        {"sizes": COCO300_SIZES, "depth": 50},
        "COCO val AP about 27 (NVIDIA DeepLearningExamples, SSD300 v1.1)",
        "ssd300_resnet50_coco.py",
    ),
    Preset(
        "ssdlite320_mobilenet_v2_coco", "ssdlite_mobilenet_v2", (320, 320), COCO_CLASSES, 3234,
        {},
        "COCO val AP 21.3 (MMDetection 3.3)",
        "ssdlite320_coco.py",
    ),
    Preset(
        "ssdlite320_mobilenet_v3_large_coco", "ssdlite_mobilenet_v3_large", (320, 320),
        COCO_CLASSES, 3234, {},
        "COCO val AP 21.3 (torchvision)",
        "ssdlite320_coco.py",
    ),
    Preset(
        "ssd192_small_shapes", "ssd_small", (192, 192), SHAPE_CLASSES, 3060, {},
        "none: made for demonstrations and tests",
        "shapes.py",
    ),
    _published(
        "torchvision_ssd300_vgg16_coco", 300, COCO_CLASSES_BY_ID, 8732,
        "COCO val2017 AP 25.1 (torchvision)",
    ),
    _published(
        "torchvision_ssdlite320_mobilenet_v3_large_coco", 320, COCO_CLASSES_BY_ID, 3234,
        "COCO val2017 AP 21.3 (torchvision)",
    ),
    _published(
        "caffe_ssd300_vgg16_voc", 300, VOC_CLASSES, 8732,
        "VOC12 test mAP 79.3, trained on 07++12 and COCO (arXiv 1512.02325)",
    ),
    _published(
        "caffe_ssd512_vgg16_voc", 512, VOC_CLASSES, 24564,
        "VOC12 test mAP 78.5, trained on 07++12 (arXiv 1512.02325)",
    ),
    _published(
        "object_detection_api_ssd300_mobilenet_v1_coco", 300, COCO_CLASSES, 1917,
        "none: depth 0.75, quantised (TF Object Detection API)",
    ),
)  # fmt: skip


PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _LIST}


def is_trained(name: str) -> bool:
    """Whether a model comes with its weights, so that `TRAINED_OPTIONS` are all its options."""
    return name not in PRESETS or PRESETS[name].weights is not None


def from_preset(name: str, class_names: Sequence[str] | None = None, **options: Any) -> "SSD":
    """Builds a preset's model.

    Its weights are those that others published where the preset has such (fetched once into a
    cache), else random, on a backbone with `backbone_weights`.

    Args:
        name: one of `PRESETS`.
        class_names: other classes than the preset's, without background. Of published weights
            everything is kept but the class heads, see `ssd_keras.models.with_classes`.
        **options: arguments of the preset's builder that replace the preset's: `image_size`,
            `backbone_weights` ("imagenet" or a path), the ablations; `post_process` may be a
            dictionary of those that differ. Of published weights those of `with_classes`:
            `image_size`, `sizes`, `new_rows`.

    Returns:
        `ssd_keras.models.SSD`.

    Raises:
        ValueError: for an unknown preset or option, or when weights cannot be fetched.

    Example:

    >>> model = from_preset("ssdlite320_mobilenet_v2_coco", class_names=["cat", "dog"])
    >>> model.class_names
    ('cat', 'dog')
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    if preset.weights is not None:
        return _from_published(preset, class_names, options)
    from ssd_keras import models

    builder = getattr(models, preset.builder)
    known = builder.__kwdefaults__.keys() - {"name"} | {"image_size", "sizes"}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(
            f"preset {name!r} has no option {unknown[0]!r}; choose from {', '.join(sorted(known))}."
        )
    changes: Mapping[str, Any] = {}
    if isinstance(options.get("post_process"), Mapping):  # as a recipe's JSON has it
        changes = options.pop("post_process")
        _check_settings(changes)
    arguments = {"image_size": preset.image_size, "name": name, **preset.options, **options}
    chosen = preset.class_names if class_names is None else class_names
    model = builder(class_names=chosen, **arguments)
    model.post_process = dataclasses.replace(model.post_process, **changes)
    return model


def _check_settings(changes):
    from ssd_keras.models.post_process import PostProcess

    known = [field.name for field in dataclasses.fields(PostProcess)]
    if unknown := sorted(changes.keys() - set(known)):
        raise ValueError(
            f"post_process has no entry {unknown[0]!r}; choose from {', '.join(known)}."
        )


def _from_published(preset, class_names, options):
    unknown = sorted(options.keys() - set(TRAINED_OPTIONS))
    if unknown:
        raise ValueError(
            f"preset {preset.name!r} has no option {unknown[0]!r}: its weights fix its numbers; "
            f"choose from {', '.join(TRAINED_OPTIONS)}, or a preset that is trained from a backbone."
        )
    from ssd_keras.importers.import_file import import_published

    model = import_published(preset.weights)
    chosen = model.class_names if class_names is None else tuple(class_names)
    if chosen == model.class_names and not options:
        return model
    from ssd_keras.models.transfer import with_classes

    return with_classes(model, chosen, **options)
