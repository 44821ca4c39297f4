"""What the losses of a model compare, made in the training step with `keras.ops`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from ssd_keras.boxes.coding import decode_boxes, encode_boxes
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, iou

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
    box_loss, class_loss = model.loss["box_deltas"], model.loss["class_logits"]
    is_positive, quality = deltas[..., 4:], targets.get("quality")
    if box_loss.space == "boxes" or class_loss.uses_predicted_iou:
        boxes = _in_pixels(model, deltas[..., :4])
        # Elsewhere the exponential of a delta might overflow, and its gradient with it.
        predicted_boxes = _in_pixels(model, ops.where(is_positive > 0, predicted, 0.0))
        if class_loss.uses_predicted_iou:
            ious = iou(edges(boxes), edges(ops.stop_gradient(predicted_boxes)), ops)
            quality = ious * is_positive[..., 0]
        if box_loss.space == "boxes":
            predicted = predicted_boxes
            deltas = ops.concatenate([boxes, is_positive], axis=-1)
    if box_loss.quality_weight:
        scores = ops.stop_gradient(model.post_process.scores(outputs["class_logits"]))
        weights = is_positive * ops.max(scores, axis=-1, keepdims=True)
        deltas = ops.concatenate([deltas[..., :4], weights], axis=-1)
    if class_loss.uses_quality:
        if quality is None:
            raise ValueError(
                f"{class_loss!r} uses the quality of matches, which the targets do not hold; "
                "compile the model before you call model.target_encoder()."
            )
        classes = ops.stack([ops.cast(classes, "float32"), quality], axis=-1)
    targets = {"box_deltas": deltas, "class_logits": classes}
    return targets, {**outputs, "box_deltas": predicted}


def _in_pixels(model: Any, box_deltas: Array) -> Array:
    """Returns decoded boxes in pixels of the model's input, yxyx, float32 [B, N, 4]."""
    # Decoding is linear in the default boxes, so that pixels cost nothing.
    default_boxes = model.default_box_array * np.array(model.image_size * 2, "float32")
    deltas = ops.cast(box_deltas, "float32")
    return decode_boxes(deltas, default_boxes, model.default_boxes.variances, ops)


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
