"""Presets: named models with fixed numbers.

The list needs no Keras; `from_preset` imports builders and importers when it builds a model.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.class_names import COCO_CLASSES, COCO_CLASSES_BY_ID, SHAPE_CLASSES, VOC_CLASSES
from ssd_keras.core.records import meanings
from ssd_keras.importers.published import DETECTORS, Published

if TYPE_CHECKING:
    from ssd_keras.models import SSD

# Options of a trained detector; see `ssd_keras.models.with_classes`.
TRAINED_OPTIONS = ("image_size", "shapes", "new_rows")


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named model.

    Args:
        name: as given to `from_preset` and on the command line.
        builder: name of a function of `ssd_keras.models`; "" for published weights.
        image_size: height and width in pixels.
        class_names: classes of its data set.
        num_default_boxes: number of default boxes.
        reported: accuracy that its paper or other implementations report, with the source.
        recipe: name of the recipe that trains it; "" for published weights.
        options: arguments of the builder.
        paper_sizes: data set, "voc" or "coco", whose default box sizes of the paper the builder
            gets; "" for the builder's default.
        weights: published weights, or None: the weights are random.
    """

    name: str
    builder: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    num_default_boxes: int
    reported: str
    recipe: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paper_sizes: str = ""
    weights: Published | None = None

    def __str__(self) -> str:
        height, width = self.image_size
        weights = f"; weights: {self.weights.licence}" if self.weights else ""
        return (
            f"{self.name}: {height}x{width}, {len(self.class_names)} classes, "
            f"{self.num_default_boxes} default boxes; reported: {self.reported}{weights}"
        )


def _published(
    name: str, size: int, class_names: tuple[str, ...], num_default_boxes: int, reported: str
) -> Preset:
    return Preset(
        name, "", (size, size), class_names, num_default_boxes, reported, weights=DETECTORS[name]
    )


_LIST = (
    Preset(
        "ssd300_vgg16_voc", "ssd_vgg16", (300, 300), VOC_CLASSES, 8732,
        "VOC07 test mAP 74.3 on 07+12, 77.2 with zoom-out (arXiv 1512.02325)",
        "ssd300_voc0712", paper_sizes="voc",
    ),
    Preset(
        "ssd300_vgg16_coco", "ssd_vgg16", (300, 300), COCO_CLASSES, 8732,
        "COCO test-dev AP 25.1 with zoom-out (arXiv 1512.02325)",
        "ssd300_coco", paper_sizes="coco",
    ),
    Preset(
        "ssd512_vgg16_voc", "ssd_vgg16", (512, 512), VOC_CLASSES, 24564,
        "VOC07 test mAP 76.8 on 07+12, 79.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_voc0712", paper_sizes="voc",
    ),
    Preset(
        "ssd512_vgg16_coco", "ssd_vgg16", (512, 512), COCO_CLASSES, 24564,
        "COCO test-dev AP 28.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_coco", paper_sizes="coco",
    ),
    Preset(
        "ssd300_resnet18_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        "no comparable published figure",
        "ssd300_resnet18_coco", options={"depth": 18}, paper_sizes="coco",
    ),
    Preset(
        "ssd300_resnet50_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        "COCO val AP about 27 (NVIDIA DeepLearningExamples, SSD300 v1.1)",
        "ssd300_resnet50_coco", options={"depth": 50}, paper_sizes="coco",
    ),
    Preset(
        "ssdlite320_mobilenet_v2_coco", "ssdlite_mobilenet_v2", (320, 320), COCO_CLASSES, 3234,
        "COCO val AP 21.3 (MMDetection 3.3)",
        "ssdlite320_coco",
    ),
    Preset(
        "ssdlite320_mobilenet_v3_large_coco", "ssdlite_mobilenet_v3_large", (320, 320),
        COCO_CLASSES, 3234,
        "COCO val AP 21.3 (torchvision)",
        "ssdlite320_coco",
    ),
    Preset(
        "ssd192_small_shapes", "ssd_small", (192, 192), SHAPE_CLASSES, 3060,
        "none: made for demonstrations and tests",
        "shapes",
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
    """Returns whether a model has trained weights, so that `TRAINED_OPTIONS` are its options."""
    return name not in PRESETS or PRESETS[name].weights is not None


def option_meanings(name: str) -> dict[str, str]:
    """Returns what the options of a preset, or of a trained model, are for."""
    from ssd_keras import models

    builder = models.with_classes if is_trained(name) else getattr(models, PRESETS[name].builder)
    return meanings(builder)


def from_preset(name: str, class_names: Sequence[str] | None = None, **options: Any) -> "SSD":
    """Builds a preset's model.

    The weights are the published ones if the preset has any (downloaded once into a cache), else
    random, on a backbone with `backbone_weights`.

    Args:
        name: one of `PRESETS`.
        class_names: names of other classes than the preset's, without background. With published
            weights, all weights but those of the class heads are kept; see
            `ssd_keras.models.with_classes`.
        **options: arguments of the preset's builder that replace the preset's, for example
            `image_size` or `backbone_weights` ("imagenet" or a path); `post_process` may be a
            dictionary of the fields to change. With published weights, arguments of
            `with_classes`: `image_size`, `shapes`, `new_rows`.

    Returns:
        `ssd_keras.models.SSD`.

    Raises:
        ValueError: for an unknown preset or option, or when weights cannot be downloaded.

    Example:

    >>> model = from_preset("ssdlite320_mobilenet_v2_coco", class_names=["cat", "dog"])
    >>> model.class_names
    ('cat', 'dog')
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    if preset.weights is not None:
        return _from_published(preset, preset.weights, class_names, options)
    from ssd_keras import models
    from ssd_keras.models.builders.vgg import SSD_SIZES

    builder = getattr(models, preset.builder)
    known = builder.__kwdefaults__.keys() - {"name"} | {"image_size", "sizes"}
    if unknown := sorted(options.keys() - known):
        raise ValueError(
            f"preset {name!r} has no option {unknown[0]!r}; choose from {', '.join(sorted(known))}."
        )
    changes: Mapping[str, Any] = {}
    if isinstance(options.get("post_process"), Mapping):  # from the JSON of a recipe
        changes = options.pop("post_process")
        _check_post_process(changes)
    arguments = {"image_size": preset.image_size, "name": name, **preset.options}
    if preset.paper_sizes:
        arguments["sizes"] = SSD_SIZES[preset.image_size[0], preset.paper_sizes]
    chosen = preset.class_names if class_names is None else class_names
    model = builder(class_names=chosen, **{**arguments, **options})
    model.post_process = dataclasses.replace(model.post_process, **changes)
    return model


def _check_post_process(changes: Mapping[str, Any]) -> None:
    from ssd_keras.models.post_process import PostProcess

    known = [field.name for field in dataclasses.fields(PostProcess)]
    if unknown := sorted(changes.keys() - set(known)):
        raise ValueError(
            f"post_process has no field {unknown[0]!r}; choose from {', '.join(known)}."
        )


def _from_published(
    preset: Preset,
    weights: Published,
    class_names: Sequence[str] | None,
    options: Mapping[str, Any],
) -> "SSD":
    if unknown := sorted(options.keys() - set(TRAINED_OPTIONS)):
        raise ValueError(
            f"preset {preset.name!r} has no option {unknown[0]!r}: its weights fix its numbers; "
            f"choose from {', '.join(TRAINED_OPTIONS)}, or a preset without published weights."
        )
    from ssd_keras.importers.import_file import import_published
    from ssd_keras.models.transfer import with_classes

    model = import_published(weights)
    chosen = model.class_names if class_names is None else tuple(class_names)
    if chosen == model.class_names and not options:
        return model
    return with_classes(model, chosen, **options)
