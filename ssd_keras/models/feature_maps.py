"""Checks the feature maps of a model: their size, and that the default boxes fit them."""

import operator

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.necks import FeatureMaps

MAX_DEFAULT_BOXES = 10_000_000  # a file may describe an input of any size


def backbone_feature_maps(backbone: keras.Model, x: keras.KerasTensor) -> FeatureMaps:
    """Returns the backbone's outputs; refuses those that are not feature maps of a fixed size."""
    outputs = backbone(x)
    maps = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    for index, feature_map in enumerate(maps):
        if len(feature_map.shape) != 4 or None in feature_map.shape[1:]:
            raise ValueError(
                f"output {index} of the backbone {backbone.name!r} has the shape "
                f"{feature_map.shape}; expected a feature map [B, H, W, C] of fixed size: choose "
                "other layers with `feature_extractor`."
            )
    return maps


def check_feature_maps(maps: FeatureMaps, default_boxes: DefaultBoxes) -> None:
    """Refuses default boxes of another number of feature maps."""
    expected = len(default_boxes.boxes_per_cell)
    if len(maps) != expected:
        sizes = ", ".join(f"{x.shape[1]}x{x.shape[2]}" for x in maps)
        raise ValueError(
            f"default_boxes describes {expected} feature maps but the model has {len(maps)} "
            f"({sizes}); give default boxes for each."
        )
    cells = (x.shape[1] * x.shape[2] for x in maps)
    count = sum(map(operator.mul, cells, default_boxes.boxes_per_cell))
    if count > MAX_DEFAULT_BOXES:
        raise ValueError(
            f"the feature maps have {count} default boxes; expected at most {MAX_DEFAULT_BOXES}: "
            "choose a smaller input or coarser maps."
        )
