"""Ground truth and predictions for assigners that need predictions, and their call."""

import keras
import numpy as np
import oracle
from keras import ops

# Three maps of square and wide boxes.
DEFAULT_BOXES = oracle.default_boxes(
    (96, 96), ((12, 12), (6, 6), (2, 2)), (16, 32, 60, 90), ((2,), (2,), ())
).astype("float32")


def assign(assigner, truth, predictions, default_boxes=DEFAULT_BOXES):
    """The targets, from a compiled function under JAX."""

    def call(truth, predictions):
        return assigner.assign(truth, default_boxes, predictions)

    truth, predictions = (
        {name: ops.convert_to_tensor(value) for name, value in values.items()}
        for values in (truth, predictions)
    )
    if keras.backend.backend() == "jax":
        import jax

        call = jax.jit(call)
    return {k: ops.convert_to_numpy(v) for k, v in call(truth, predictions).items()}


def random_batch(seed, counts=(5, 0, 12, 1), classes=4, length=14):
    """Ground truth padded to a length, and predictions that follow it more or less."""
    generator = np.random.default_rng(seed)
    batch, number = len(counts), len(DEFAULT_BOXES)
    boxes = np.full((batch, length, 4), -1, "float32")
    labels = np.full((batch, length), -1, "int32")
    noise = generator.normal(0, 0.03, (batch, number, 4))
    predicted = (DEFAULT_BOXES + noise).astype("float32")
    for image, count in enumerate(counts):
        side = np.exp(generator.uniform(np.log(0.03), np.log(0.7), (count, 2)))
        corner = generator.uniform(0, 1, (count, 2)) * (1 - side)
        boxes[image, :count] = np.concatenate([corner, corner + side], axis=1)
        boxes[image, 1:count:3] = boxes[image, :1]  # several objects at one place
        labels[image, :count] = generator.integers(0, classes, count)
    scores = generator.uniform(0, 1, (batch, number, classes)).astype("float32")
    return {"boxes": boxes, "labels": labels}, {"boxes": predicted, "scores": scores}


def all_candidates(truth):
    shape = (*truth["labels"].shape, len(DEFAULT_BOXES))
    return {**truth, "candidates": np.broadcast_to(np.arange(shape[-1], dtype="int32"), shape)}
