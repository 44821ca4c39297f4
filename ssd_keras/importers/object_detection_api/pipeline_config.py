"""Reads the model of a `pipeline.config`, and refuses by name what cannot be imported."""

import os
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from ssd_keras.core.text import one_line, read_text, short_list
from ssd_keras.importers.object_detection_api.config_schema import Pipeline

FAMILIES = (
    "ssd_mobilenet_v1_keras",
    "ssd_mobilenet_v1_fpn_keras",
    "ssd_mobilenet_v2_keras",
    "ssd_mobilenet_v2_fpn_keras",
    "ssd_resnet50_v1_fpn_keras",
    "ssd_resnet101_v1_fpn_keras",
    "ssd_resnet152_v1_fpn_keras",
)
SUPPORTED = f"expected an SSD of the types {short_list(FAMILIES)}"
NEAREST_PRESET = "ssd_pan384_medium_coco"
TOP_LEVEL = 5  # of a backbone: stride 32
TOKEN = re.compile(r"""\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}<>]|[\w.]+|\S""")

# Values that would change the network or its detections: dotted name, and the values that do not.
FIXED = {
    "add_background_class": (True,),
    "image_resizer.fixed_shape_resizer.resize_method": ("BILINEAR",),
    "image_resizer.fixed_shape_resizer.convert_to_grayscale": (False,),
    "image_resizer.keep_aspect_ratio_resizer.resize_method": ("BILINEAR",),
    "image_resizer.keep_aspect_ratio_resizer.convert_to_grayscale": (False,),
    "image_resizer.keep_aspect_ratio_resizer.pad_to_max_dimension": (True,),
    "feature_extractor.use_explicit_padding": (False,),
    "feature_extractor.pad_to_multiple": (1,),
    "feature_extractor.num_layers": (6,),
    "feature_extractor.conv_hyperparams.op": ("CONV", "NO_OP"),
    "feature_extractor.conv_hyperparams.activation": ("RELU", "RELU_6"),
    "feature_extractor.conv_hyperparams.force_use_bias": (False,),
    "anchor_generator.multiscale_anchor_generator.normalize_coordinates": (True,),
    "anchor_generator.ssd_anchor_generator.base_anchor_height": (1.0,),
    "anchor_generator.ssd_anchor_generator.base_anchor_width": (1.0,),
    "post_processing.score_converter": ("SIGMOID", "SOFTMAX"),
    "post_processing.logit_scale": (1.0,),
    "post_processing.batch_non_max_suppression.soft_nms_sigma": (0.0,),
    "post_processing.batch_non_max_suppression.use_class_agnostic_nms": (False,),
    "post_processing.batch_non_max_suppression.change_coordinate_frame": (True,),
    **{
        f"box_predictor.{predictor}.{field}": values
        for predictor in (
            "convolutional_box_predictor",
            "weight_shared_convolutional_box_predictor",
        )
        for field, values in {
            "box_code_size": (4,),
            "apply_sigmoid_to_scores": (False,),
            "conv_hyperparams.force_use_bias": (False,),
            "conv_hyperparams.activation": ("RELU", "RELU_6"),
        }.items()
    },
}
UNSET = (
    "image_resizer.keep_aspect_ratio_resizer.per_channel_pad_value",
    "anchor_generator.ssd_anchor_generator.height_stride",
    "anchor_generator.ssd_anchor_generator.width_stride",
    "anchor_generator.ssd_anchor_generator.height_offset",
    "anchor_generator.ssd_anchor_generator.width_offset",
)
# Of each group the parts that can be imported.
PARTS = {
    "image_resizer": ("fixed_shape_resizer", "keep_aspect_ratio_resizer"),
    "box_coder": ("faster_rcnn_box_coder",),
    "box_predictor": (
        "convolutional_box_predictor",
        "weight_shared_convolutional_box_predictor",
    ),
    "anchor_generator": ("ssd_anchor_generator", "multiscale_anchor_generator"),
}


def read_pipeline_config(path: str) -> Any:
    """Returns the `Ssd` message of a `pipeline.config`.

    Raises:
        FileNotFoundError, ValueError: for another file, another meta-architecture, and for values
            that change the network or its detections and cannot be imported.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; expected the model's pipeline.config.")
    text = _model_text(read_text(path))
    if not text:
        raise ValueError(f"{path!r} has no model {{ ... }}; expected a pipeline.config.")
    loose = _parsed(path, text, allow_unknown_field=True).model
    _check_family(path, loose)
    ssd = _parsed(path, text).model.ssd
    for problem in _problems(ssd):
        raise ValueError(f"{path!r} has {problem}.")
    return ssd


def value_of(message: Any, name: str) -> Any:
    """Returns the value of a dotted name, an enum's as its text; None in a group that is absent."""
    *groups, field = name.split(".")
    for group in groups:
        if not message.HasField(group):
            return None
        message = getattr(message, group)
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    value = getattr(message, field)
    return enum.values_by_number[value].name if enum else value


def _model_text(text: str) -> str:
    """Returns the block of the model alone: what a training did beside it has many more fields."""
    depth, start = 0, None
    for token in TOKEN.finditer(text):
        if depth == 0 and token.group() == "model":
            start = token.start()
        if token.group() in "{<":
            depth += 1
        elif token.group() in "}>":
            depth -= 1
            if depth == 0 and start is not None:
                return text[start : token.end()]
    return "" if start is None else text[start:]


def _parsed(path: str, text: str, allow_unknown_field: bool = False) -> Any:
    try:
        return text_format.Parse(text, Pipeline(), allow_unknown_field=allow_unknown_field)
    except (text_format.ParseError, RecursionError) as error:
        unknown = re.search(r'has no field named "(\w+)"', str(error))
        if unknown:
            raise ValueError(
                f"{path!r} has {unknown[1]!r}, which cannot be imported; delete it if the model "
                "does without."
            ) from error
        raise ValueError(
            f"{path!r} cannot be parsed ({one_line(str(error))}); expected a pipeline.config of "
            "the TF Object Detection API."
        ) from error


def _check_family(path: str, model: Any) -> None:
    others = [field.name for field, _ in model.ListFields() if field.name != "ssd"]
    family = model.ssd.feature_extractor.type
    if not model.HasField("ssd"):
        what = f"the meta-architecture {others[0]}" if others else "no model that is known"
    elif family in FAMILIES:
        return
    else:
        what = f"the feature extractor {family!r}"
    raise ValueError(
        f"{path!r} describes {what}; {SUPPORTED}. The nearest preset to train instead is "
        f"{NEAREST_PRESET}."
    )


def _problems(ssd: Any) -> Iterator[str]:
    for group, known in PARTS.items():
        names = [field.name for field, _ in getattr(ssd, group).ListFields()]
        if len(names) != 1 or names[0] not in known:
            yield f"{group} {{ {' '.join(names) or 'nothing'} }}; expected {' or '.join(known)}"
    for name, values in FIXED.items():
        value = value_of(ssd, name) if _has_field(ssd, name) else None
        if value is not None and value not in values:
            yield f"{name}={value}; expected {' or '.join(map(str, values))}"
    for name in UNSET:
        if value_of(ssd, name):
            yield f"{name}; expected a configuration without it"
    predictor = ssd.box_predictor.convolutional_box_predictor
    if predictor.num_layers_before_predictor and predictor.max_depth:
        yield "num_layers_before_predictor above 0; expected 0"
    fpn = ssd.feature_extractor.fpn
    if not 3 <= fpn.min_level <= TOP_LEVEL <= fpn.max_level:
        yield (
            f"fpn levels {fpn.min_level} to {fpn.max_level}; expected the first between 3 and "
            f"{TOP_LEVEL}, and the last {TOP_LEVEL} or more"
        )
    if ssd.num_classes < 1:
        yield f"num_classes={ssd.num_classes}; expected 1 or more"


def _has_field(message: Any, name: str) -> bool:
    """Whether a field of that dotted name is known in the message, such as of one predictor."""
    descriptor = message.DESCRIPTOR
    for part in name.split("."):
        field = descriptor.fields_by_name.get(part) if descriptor else None
        if field is None:
            return False
        descriptor = field.message_type
    return True
