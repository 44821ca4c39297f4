"""A trained detector for other classes: all that it can keep, it keeps."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from ssd_keras.core.class_names import labels_by_name
from ssd_keras.models.ssd import SSD

NEW_ROWS = ("mean", "fresh")


def with_classes(
    model: SSD,
    class_names: Sequence[str],
    new_rows: str = "mean",
    image_size: tuple[int, int] | None = None,
    sizes: Sequence[float] | None = None,
) -> SSD:
    """The same detector for other classes.

    Everything but the class heads is copied. Of these, background and the rows of classes that
    both have (by name, or by an alias such as "tv" for "tvmonitor") are copied; the box heads
    know nothing of classes.

    Args:
        model: `SSD`; it is left as it is.
        class_names: names of the new classes without background.
        new_rows: what predicts a class that the model does not know: "mean" (default), the mean
            of all classes that it knows, which finds objects of any kind; or "fresh", random.
        image_size: height and width in pixels of another input, for images of another shape or
            small objects. Default: the model's own.
        sizes: other sides of the square default boxes in pixels, one for each map and one more.
            Default: the model's own, grown with the shorter side of the input.

    Returns:
        a new `SSD`, not compiled.

    Raises:
        ValueError: for an unknown value of `new_rows`, or sizes that do not fit the maps.

    Example:

    >>> from ssd_keras import from_preset
    >>> shapes = from_preset("ssd192_small_shapes")
    >>> with_classes(shapes, ["star", "moon"]).class_names
    ('star', 'moon')
    """
    if new_rows not in NEW_ROWS:
        raise ValueError(f"new_rows={new_rows!r} is unknown; choose one of {', '.join(NEW_ROWS)}.")
    config = {**model.get_config(), "class_names": list(class_names)}
    if image_size is not None or sizes is not None:
        config |= _at_size(model, tuple(image_size or model.image_size), sizes)
    copy = SSD.from_config(config)
    known = known_classes(model, copy.class_names)
    known_labels = [
        model.class_names.index(known[name]) if name in known else None for name in copy.class_names
    ]
    class_heads = {f"class_head{place}" for place in range(1, 1 + len(copy.feature_sizes))}
    for layer in copy.layers:
        # A rebuilt backbone has the weights already, and maybe another name.
        if layer is copy.backbone:
            layer.set_weights(model.backbone.get_weights())
            continue
        old = model.get_layer(layer.name).get_weights()
        if layer.name in class_heads:
            new = layer.get_weights()
            pairs = zip(old, new, strict=True)
            old = [_rows_by_class(*pair, known_labels, new_rows) for pair in pairs]
        if old:
            layer.set_weights(old)
    return copy


def _at_size(model, image_size, sizes):
    """The configuration's entries for another input size or other default boxes."""
    spec = model.default_boxes
    if sizes is None:
        growth = min(image_size) / min(model.image_size)
        sizes = [size * growth for size in spec.sizes]
    if len(sizes) != len(spec.sizes):
        raise ValueError(
            f"sizes has {len(sizes)} entries; expected {len(spec.sizes)}: one for each of the "
            f"model's {len(spec.sizes) - 1} maps and one more."
        )
    is_resized = image_size != model.image_size
    square = spec.first_square and spec.first_square * sizes[0] / spec.sizes[0]
    spec = dataclasses.replace(
        spec,
        sizes=tuple(sizes),
        first_square=square,
        steps=None if is_resized else spec.steps,  # the last maps' are those of the image itself
    )
    serialize = keras.saving.serialize_keras_object
    changes = {"default_boxes": serialize(spec), "image_size": list(image_size)}
    if is_resized:
        images = keras.Input((*image_size, 3))
        backbone = keras.models.clone_model(model.backbone, input_tensors=images)
        changes["backbone"] = serialize(backbone)
    return changes


def known_classes(model: SSD, class_names: Sequence[str]) -> dict[str, str]:
    """Which of some classes a model knows, and by what name."""
    labels = labels_by_name(model.class_names)
    return {name: model.class_names[labels[name]] for name in class_names if name in labels}


def _rows_by_class(old, new, known_labels, new_rows):
    """A class head's kernel or bias for the new classes; the last axis is boxes x classes.

    `known_labels` are the old labels of the new classes, None where there is none.
    """
    result = new.reshape(*new.shape[:-1], -1, 1 + len(known_labels)).copy()
    old = old.reshape(*old.shape[:-1], result.shape[-2], -1)
    result[..., 0] = old[..., 0]
    for label, old_label in enumerate(known_labels, start=1):
        if old_label is not None:
            result[..., label] = old[..., 1 + old_label]
        elif new_rows == "mean":
            result[..., label] = np.mean(old[..., 1:], axis=-1)
    return result.reshape(new.shape)
