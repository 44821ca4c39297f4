"""Presets: named models with fixed numbers.

The list needs no Keras; `from_preset` imports builders and importers when it builds a model.
"""

import dataclasses
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.class_names import (
    COCO_CLASSES,
    COCO_CLASSES_BY_ID,
    SHAPE_CLASSES,
    VOC_CLASSES,
    check_class_names,
)
from ssd_keras.core.hub import ADDRESS_HELP, is_hub_address, local_path
from ssd_keras.core.origin import Origin
from ssd_keras.core.records import converted, meanings
from ssd_keras.core.text import unknown_name
from ssd_keras.importers.published import (
    BACKBONES,
    DETECTORS,
    KERAS_BACKBONES,
    Published,
    origin_of_file,
)

if TYPE_CHECKING:
    from ssd_keras.models import SSD

# Options of a trained detector; see `ssd_keras.models.with_classes`.
TRAINED_OPTIONS = ("image_size", "shapes", "new_rows")


@dataclasses.dataclass(frozen=True, repr=False)
class Preset:
    """A named model.

    Args:
        name: as given to `from_preset` and on the command line.
        builder: name in `ssd_keras.models.builders.BUILDERS`; "" for published weights.
        image_size: height and width in pixels.
        class_names: classes of its data set.
        num_default_boxes: number of default boxes.
        reported: accuracy that its paper or other implementations report, with the source.
        recipe: name of the recipe that trains it; "" for published weights.
        options: fields of the builder's options that differ from its defaults.
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
    weights: Published | None = None

    def __repr__(self) -> str:
        return f"<Preset {self}>"  # without the names of 80 classes

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
        "ssd300_voc0712",
    ),
    Preset(
        "ssd300_vgg16_coco", "ssd_vgg16", (300, 300), COCO_CLASSES, 8732,
        "COCO test-dev AP 25.1 with zoom-out (arXiv 1512.02325)",
        "ssd300_coco", options={"sizes": "coco"},
    ),
    Preset(
        "ssd512_vgg16_voc", "ssd_vgg16", (512, 512), VOC_CLASSES, 24564,
        "VOC07 test mAP 76.8 on 07+12, 79.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_voc0712",
    ),
    Preset(
        "ssd512_vgg16_coco", "ssd_vgg16", (512, 512), COCO_CLASSES, 24564,
        "COCO test-dev AP 28.8 with zoom-out (arXiv 1512.02325)",
        "ssd512_coco", options={"sizes": "coco"},
    ),
    Preset(
        "ssd300_resnet18_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        "no comparable published figure",
        "ssd300_resnet18_coco", options={"depth": 18},
    ),
    Preset(
        "ssd300_resnet50_coco", "ssd_resnet", (300, 300), COCO_CLASSES, 8732,
        "COCO val AP about 27 (NVIDIA DeepLearningExamples, SSD300 v1.1)",
        "ssd300_resnet50_coco", options={"depth": 50},
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
        "ssd_pan320_small_coco", "ssd_pan_mobilenet_v2", (320, 320), COCO_CLASSES, 2125,
        "none: not trained yet",
        "ssd_pan320_small_coco", options={"alpha": 0.75, "filters": 80},
    ),
    Preset(
        "ssd_pan384_medium_coco", "ssd_pan_mobilenet_v2", (384, 384), COCO_CLASSES, 3060,
        "none: not trained yet",
        "ssd_pan384_medium_coco",
    ),
    Preset(
        "ssd_pan416_large_coco", "ssd_pan_mobilenet_v2", (416, 416), COCO_CLASSES, 3598,
        "none: not trained yet",
        "ssd_pan416_large_coco", options={"alpha": 1.4, "filters": 160},
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


def check_name(name: str) -> None:
    """Raises a `ValueError` for what is neither a preset, nor a hub's address, nor a path."""
    if name not in PRESETS and not is_hub_address(name) and not os.path.exists(name):
        unknown = unknown_name("preset", name, PRESETS, "ssd-keras info presets")[:-1]
        raise ValueError(f"{unknown}; or pass the path of a trained model, or {ADDRESS_HELP}.")


def is_trained(name: str) -> bool:
    """Returns whether a model has trained weights, so that `TRAINED_OPTIONS` are its options."""
    return name not in PRESETS or PRESETS[name].weights is not None


def preset_options(name: str) -> Iterator[tuple[str, Any, str]]:
    """Yields the options of a preset, or of a trained model: name, default, meaning."""
    if is_trained(name):
        from ssd_keras.models.transfer import with_classes

        parameters, texts = inspect.signature(with_classes).parameters, meanings(with_classes)
        for option in TRAINED_OPTIONS:
            yield option, parameters[option].default, texts[option]
        return
    from ssd_keras.models.builders import BUILDERS

    preset, (_, options_class) = PRESETS[name], BUILDERS[PRESETS[name].builder]
    yield "image_size", preset.image_size, "height and width of the input in pixels."
    texts = meanings(options_class)
    for field in dataclasses.fields(options_class):
        yield field.name, preset.options.get(field.name, field.default), texts[field.name]


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises a `ValueError` for options that the builder of a preset does not take."""
    if is_trained(name):
        return
    from ssd_keras.models.builders import BUILDERS

    known = {option: value for option, value in options.items() if option != "image_size"}
    BUILDERS[PRESETS[name].builder][1].from_names(f"preset {name!r}", known)


def from_preset(
    name: str | os.PathLike,
    class_names: Sequence[str] | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    **options: Any,
) -> "SSD":
    """Builds a preset's model, or loads a trained one.

    The weights of a preset are the published ones if it has any (downloaded once into a cache),
    else random, on a backbone with `backbone_weights`.

    Args:
        name: one of `PRESETS`; or a trained model: a RUN folder of `ssd-keras train`, a .keras
            file, or its address on a hub: hf://OWNER/REPO[@REVISION][/FILE] or
            kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE].
        class_names: names of other classes than the model's, without background. Of trained
            weights, all but those of the class heads are kept; see `ssd_keras.models.with_classes`.
        image_size: height and width of the input in pixels. Default None: the model's.
        **options: fields of the options of the preset's builder that replace the preset's, for
            example `backbone_weights` ("imagenet", "random" or a path), `neck`, `head`;
            `post_process` may be a dictionary of the fields to change. With trained weights,
            arguments of `with_classes`: `shapes`, `new_rows`.

    Returns:
        `ssd_keras.models.SSD`.

    Raises:
        FileNotFoundError: a file or hub holds no model.
        ValueError: for an unknown preset or option, a model that is no SSD, or when weights cannot
            be downloaded.

    Example:

    >>> model = from_preset("ssdlite320_mobilenet_v2_coco", class_names=["cat", "dog"])
    >>> model.class_names
    ('cat', 'dog')
    """
    name = os.fspath(name)
    check_name(name)
    preset = PRESETS.get(name)
    if class_names is not None:
        check_class_names(class_names)
    if image_size is not None:
        image_size = converted(image_size, tuple[int, int], f"preset {name!r}: image_size")
    if preset is None or preset.weights is not None:
        if image_size is not None:
            options["image_size"] = image_size
        return _from_trained(name, class_names, options)
    from ssd_keras.models.builders import BUILDERS

    build, options_class = BUILDERS[preset.builder]
    record = options_class.from_names(f"preset {name!r}", {**preset.options, **options})
    chosen = preset.class_names if class_names is None else class_names
    model = build(tuple(image_size or preset.image_size), chosen, record, name=name)
    model.origin = _backbone_origin(model.backbone.name, record)
    return model


def _backbone_origin(name: str, options: Any) -> Origin | None:
    """Returns the origin of a backbone's weights; None where they are random."""
    if options.backbone_weights == "random":
        return None
    if options.backbone_weights != "imagenet":
        return origin_of_file(options.backbone_weights)
    is_torchvision = name == "resnet18" or getattr(options, "variant", "") == "torchvision"
    return BACKBONES[name].origin(name) if is_torchvision else KERAS_BACKBONES.get(name)


def _from_trained(
    name: str, class_names: Sequence[str] | None, options: Mapping[str, Any]
) -> "SSD":
    if unknown := sorted(options.keys() - set(TRAINED_OPTIONS)):
        raise ValueError(
            f"preset {name!r} has no option {unknown[0]!r}: its weights fix its numbers; "
            f"choose from {', '.join(TRAINED_OPTIONS)}, or a preset without published weights."
        )
    from ssd_keras.models.transfer import with_classes

    model = _trained_model(name)
    chosen = model.class_names if class_names is None else tuple(class_names)
    if chosen == model.class_names and not options:
        return model
    return with_classes(model, chosen, **options)


def _trained_model(name: str) -> "SSD":
    weights = PRESETS[name].weights if name in PRESETS else None
    if weights is None:
        from ssd_keras.models.model_file import load_model_at

        return load_model_at(local_path(name), name)
    from ssd_keras.importers.import_file import import_published

    model = import_published(weights)
    model.origin = weights.origin(name)
    return model
