"""What the losses of a model compare, made in the training step with `keras.ops`."""

from collections.abc import Mapping
from typing import Any

from keras import ops

from ssd_keras.boxes.coding import encode_boxes
from ssd_keras.boxes.formats import Array

Outputs = dict[str, Array]


def loss_arguments(
    model: Any, targets: Mapping[str, Array], outputs: Outputs
) -> tuple[Outputs, Outputs]:
    """Returns targets and outputs of an `SSD` in the forms that its losses compare.

    `targets` are those of the model's target encoder: encoded, or the ground truth itself.
    """
    names = set(targets) if isinstance(targets, Mapping) else set()
    if not (names >= {"boxes", "labels"} or names >= {"box_deltas", "class_logits"}):
        raise ValueError(
            "the targets are not those of model.target_encoder(); train on batches of "
            "training_dataset(data, model.target_encoder(), model.image_size, ...)."
        )
    if "labels" in targets:
        targets = _assigned(model, targets, outputs)
    deltas, classes = targets["box_deltas"], targets["class_logits"]
    predicted = outputs["box_deltas"]
    encoded, own = deltas.shape[-2], predicted.shape[-2]
    if encoded != own and None not in (encoded, own):
        raise ValueError(
            f"the targets are of {encoded} default boxes, the model has {own}; expected those of "
            "its own model.target_encoder()."
        )
    if model.loss["box_deltas"].space == "boxes":
        is_positive = deltas[..., 4:]
        # Elsewhere the exponential of a delta might overflow, and its gradient with it.
        predicted = model.post_process.decode(ops.where(is_positive > 0, predicted, 0.0))
        boxes = model.post_process.decode(deltas[..., :4])
        deltas = ops.concatenate([boxes, is_positive], axis=-1)
    if model.loss["class_logits"].uses_quality:
        if "quality" not in targets:
            raise ValueError(
                f"{model.loss['class_logits']!r} uses the quality of matches, which the targets "
                "do not hold; compile the model before you call model.target_encoder()."
            )
        classes = ops.stack([ops.cast(classes, "float32"), targets["quality"]], axis=-1)
    targets = {"box_deltas": deltas, "class_logits": classes}
    return targets, {**outputs, "box_deltas": predicted}


def _assigned(model: Any, ground_truth: Mapping[str, Array], outputs: Outputs) -> Outputs:
    """Assigns the objects by the model's predictions, and encodes them as the encoder does."""
    # Before a training on several devices, Keras tries the step with floats.
    dtypes = {"boxes": "float32", "labels": "int32", "candidates": "int32"}
    ground_truth = {name: ops.cast(ground_truth[name], dtypes[name]) for name in dtypes}
    outputs = {name: ops.stop_gradient(values) for name, values in outputs.items()}
    predictions = {
        "boxes": model.post_process.decode(outputs["box_deltas"]),
        "scores": model.post_process.scores(outputs["class_logits"]),
    }
    assigned = model.assigner.assign(ground_truth, model.default_box_grid, predictions)
    is_positive = (assigned["labels"] >= 0)[..., None]
    default_boxes = model.default_box_array
    boxes = ops.where(is_positive, assigned["boxes"], default_boxes)
    deltas = encode_boxes(boxes, default_boxes, model.default_boxes.variances, ops)
    return {
        "box_deltas": ops.concatenate([deltas, ops.cast(is_positive, deltas.dtype)], axis=-1),
        "class_logits": assigned["labels"] + 1,  # -1 ignored, 0 background, 1.. classes
        "quality": assigned["quality"],
    }
