"""What builders share: their options, preprocessing."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.parts import make_part
from ssd_keras.core.records import as_part_table, converted, field_types, from_table
from ssd_keras.core.text import unknown_name
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD, Head, Neck

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
# Of sigmoid scores, as in RetinaNet (arXiv 1708.02002, section 4.1): losses over all default boxes,
# such as the focal loss, would begin with thousands of false positives.
PRIOR_PROBABILITY = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuilderOptions:
    """Options of every builder; None stands for the family's own.

    Args:
        neck: `ExtraLayers`, `FPN`, another neck, or several in a row; recipes write its type,
            "fpn", or a table, {"type": "fpn", "filters": 96}. Default None: the family's.
        head: `SSDHead`, `SharedHead` or another head, its type or its table. Default None: the
            family's.
        default_boxes: `DefaultBoxes` of all feature maps, or a table whose "type" names one of its
            constructors, such as {"type": "octaves", "levels": [3, 4, 5]}. Default None: the
            family's.
        shapes: for each feature map the (height, width) in pixels of the default boxes of a cell,
            which replace those of `default_boxes`. Default None.
        post_process: `PostProcess`, or a table of its fields that differ from the family's.
            Default None.
        activation: "softmax" or "sigmoid", with which the family's head starts at scores of 0.01.
            Default None: the family's, mostly "softmax".
        backbone_weights: "random" (default), "imagenet", or the path of a file: of weights saved
            from the same layers, or of a classifier (.h5 of keras.applications, .pth of
            torchvision, .tflite of MobileNetV2, .caffemodel).
    """

    neck: Neck | str | Mapping[str, Any] | Sequence[Neck | str | Mapping[str, Any]] | None = None
    head: Head | str | Mapping[str, Any] | None = None
    default_boxes: DefaultBoxes | Mapping[str, Any] | str | None = None
    shapes: Sequence[Sequence[Sequence[float]]] | None = None
    post_process: PostProcess | Mapping[str, Any] | None = None
    activation: str | None = None
    backbone_weights: str = "random"

    @classmethod
    def from_names(cls, owner: str, values: Mapping[str, Any]) -> Self:
        """Builds the record; refuses names that are no fields, and values of other types."""
        types = field_types(cls)
        for name in values:
            if name not in types:
                raise ValueError(unknown_name(f"{owner}: option", name, types))
        options = {
            name: converted(value, types[name], f"{owner}: {name}")
            for name, value in values.items()
        }
        return cls(**options)

    def build(
        self,
        backbone: keras.Model,
        class_names: Sequence[str],
        image_size: tuple[int, int],
        *,
        neck: Neck | Sequence[Neck],
        head: Head,
        default_boxes: DefaultBoxes,
        preprocessor: Mapping[str, Any] | None,
        name: str,
        post_process: PostProcess | None = None,
        activation: str = "softmax",
    ) -> SSD:
        """Builds the `SSD`: these options before the family's parts."""
        if isinstance(self.default_boxes, Mapping | str):
            default_boxes = _default_boxes(self.default_boxes, image_size)
        else:
            default_boxes = self.default_boxes or default_boxes
        activation = self.activation or activation
        if activation == "sigmoid":
            head = dataclasses.replace(head, prior_probability=PRIOR_PROBABILITY)
        if self.shapes is not None:
            default_boxes = dataclasses.replace(default_boxes, shapes=self.shapes)
        return SSD(
            backbone,
            default_boxes,
            class_names,
            image_size,
            neck=neck if self.neck is None else _parts("neck", self.neck),
            head=_parts("head", self.head) or head,
            post_process=self._post_process(post_process or PostProcess()),
            activation=activation,
            preprocessor=preprocessor,
            name=name,
        )

    def _post_process(self, own: PostProcess) -> PostProcess:
        changes = self.post_process
        if not isinstance(changes, Mapping):
            return changes or own
        return from_table(PostProcess, {**own.get_config(), **changes}, "post_process")


def _default_boxes(table: Mapping[str, Any] | str, image_size: tuple[int, int]) -> DefaultBoxes:
    """Builds the default boxes of a recipe's table, or of a type alone."""
    constructors: dict[str, Callable[..., DefaultBoxes]] = {
        "paper": DefaultBoxes.paper,
        "explicit": DefaultBoxes.explicit,
        "octaves": functools.partial(DefaultBoxes.octaves, image_size),
        "from_scales": functools.partial(DefaultBoxes.from_scales, image_size),
    }
    options = {"type": table} if isinstance(table, str) else dict(table)
    name = options.pop("type", None)
    if name not in constructors:
        raise ValueError(unknown_name("default_boxes.type", name, constructors))
    try:
        return constructors[name](**options)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ValueError(f"default_boxes of type {name!r}: {error}") from error


def _parts(kind: str, value: Any) -> Any:
    """Turns the tables of a recipe into parts."""
    if isinstance(value, list | tuple):
        return [_parts(kind, each) for each in value]
    if isinstance(value, str | Mapping):
        return make_part(kind, as_part_table(value, kind))
    return value
