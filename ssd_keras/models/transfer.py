"""Transfers a trained detector to other classes, input sizes or default boxes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ssd_keras.boxes.default_boxes import Shapes
from ssd_keras.core.class_names import check_class_names, labels_by_name
from ssd_keras.core.text import unknown_name
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

NEW_ROWS = ("mean", "fresh")


def with_classes(
    model: SSD,
    class_names: Sequence[str],
    new_rows: str = "mean",
    image_size: tuple[int, int] | None = None,
    shapes: Shapes | None = None,
) -> SSD:
    """Copies a detector and gives the copy other classes.

    All weights are copied but those of the class heads. Of these, the rows of the background and
    of classes that both models have are copied; classes are compared by name or alias, such as
    "tv" for "tvmonitor". So are display thresholds by class; a new class has 0.5.

    Args:
        model: `SSD`; it is not changed.
        class_names: names of the new classes without background.
        new_rows: weights of classes that the model does not have: "mean" (default), the mean of
            all its classes, which detects objects of any class; or "fresh", random weights.
        image_size: height and width of the input in pixels. Default: the model's.
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels.
            Default: the model's, scaled with the shorter side of the input.

    Returns:
        a new `SSD`, not compiled.

    Raises:
        ValueError: for an unknown value of `new_rows`, or another number of shapes.

    Example:

    >>> from ssd_keras import from_preset
    >>> shapes = from_preset("ssd192_small_shapes")
    >>> with_classes(shapes, ["star", "moon"]).class_names
    ('star', 'moon')
    """
    if new_rows not in NEW_ROWS:
        raise ValueError(f"new_rows={new_rows!r} is unknown; choose one of {', '.join(NEW_ROWS)}.")
    config = {**model.get_config(), "class_names": list(class_names)}
    if image_size is not None or shapes is not None:
        config |= _config_at_size(model, tuple(image_size or model.image_size), shapes)
    thresholds = config.pop("display_threshold")  # a table of the old names
    copy = SSD.from_config(config)
    known = known_classes(model, copy.class_names)
    old_labels = [
        model.class_names.index(known[name]) if name in known else None for name in copy.class_names
    ]
    if isinstance(thresholds, Mapping):
        thresholds = {name: thresholds[old_name] for name, old_name in known.items()}
    copy.display_threshold = thresholds
    copy.post_process = _post_process_by_name(copy.post_process, old_labels)
    class_layers = {layer.name for layer in copy.head.class_layers(copy)}
    for layer in copy.layers:
        # A backbone of another size is a clone, which may have another name.
        if layer is copy.backbone:
            layer.set_weights(model.backbone.get_weights())
            continue
        if not layer.weights:  # such as one that cuts a map, which the old size may not need
            continue
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in class_layers:
            pairs = zip(weights, layer.get_weights(), strict=True)
            weights = [_rows_by_class(old, new, old_labels, new_rows) for old, new in pairs]
        layer.set_weights(weights)
    return copy


def keep_classes(model: SSD, class_names: Sequence[str]) -> SSD:
    """Copies a detector and cuts the copy to some of its classes, without training.

    Boxes and logits of the kept classes stay. So do scores of a sigmoid; scores of a softmax are
    over the background and the kept classes, so that they grow where a dropped class was likely.

    Args:
        model: `SSD`; it is not changed.
        class_names: classes to keep, or their aliases, such as "tv" for "tvmonitor", in the order
            of the copy's labels. The copy has the model's names.

    Returns:
        a new `SSD`, not compiled.

    Raises:
        ValueError: for no names, a repeated name, or a name that the model does not have.

    Example:

    >>> from ssd_keras import from_preset
    >>> shapes = from_preset("ssd192_small_shapes", class_names=["star", "moon", "sun"])
    >>> keep_classes(shapes, ["sun", "star"]).class_names
    ('sun', 'star')
    """
    check_class_names(class_names)
    known = known_classes(model, class_names)
    for name in class_names:
        if name not in known:
            raise ValueError(unknown_name("class", name, model.class_names))
    kept = [known[name] for name in class_names]
    check_class_names(kept)  # two aliases of one class
    return with_classes(model, kept)


def _post_process_by_name(
    post_process: PostProcess, old_labels: Sequence[int | None]
) -> PostProcess:
    """Returns the record with thresholds of the new classes: of unknown ones the smallest."""
    old = post_process.score_threshold
    if not isinstance(old, tuple):
        return post_process
    new = tuple(min(old) if label is None else old[label] for label in old_labels)
    return dataclasses.replace(post_process, score_threshold=new)


def _config_at_size(
    model: SSD, image_size: tuple[int, ...], shapes: Shapes | None
) -> dict[str, Any]:
    """Returns the entries of the configuration for another input size or other default boxes."""
    old = boxes = model.default_boxes
    is_resized = image_size != model.image_size
    if is_resized:
        boxes = old.resized(min(image_size) / min(model.image_size))
    if shapes is not None:
        boxes = dataclasses.replace(boxes, shapes=shapes)
    if boxes.boxes_per_cell != old.boxes_per_cell:
        raise ValueError(
            f"shapes has {boxes.boxes_per_cell} boxes in the cells of the feature maps; expected "
            f"{old.boxes_per_cell}, for which the model's heads are trained."
        )
    serialize = keras.saving.serialize_keras_object
    config = {"default_boxes": serialize(boxes), "image_size": list(image_size)}
    if is_resized:
        images = keras.Input((*image_size, 3))
        # Keras before 3.11 wants the structure of the model's own input.
        inputs = [images] if isinstance(model.backbone.input, list) else images
        backbone = keras.models.clone_model(model.backbone, input_tensors=inputs)
        config["backbone"] = serialize(backbone)
    return config


def known_classes(model: SSD, class_names: Sequence[str]) -> dict[str, str]:
    """Maps those of the class names that a model knows to the model's names."""
    labels = labels_by_name(model.class_names)
    return {name: model.class_names[labels[name]] for name in class_names if name in labels}


def _rows_by_class(
    old: np.ndarray, new: np.ndarray, old_labels: Sequence[int | None], new_rows: str
) -> np.ndarray:
    """Returns the kernel or bias of a class head for the new classes.

    The last axis is boxes x classes. `old_labels` has the old label of each new class, or None.
    """
    result = new.reshape(*new.shape[:-1], -1, 1 + len(old_labels)).copy()
    old = old.reshape(*old.shape[:-1], result.shape[-2], -1)
    result[..., 0] = old[..., 0]
    for label, old_label in enumerate(old_labels, start=1):
        if old_label is not None:
            result[..., label] = old[..., 1 + old_label]
        elif new_rows == "mean":
            result[..., label] = np.mean(old[..., 1:], axis=-1)
    return result.reshape(new.shape)
