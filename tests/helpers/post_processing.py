"""Post-processing without a model: a record bound to any default boxes."""

from types import SimpleNamespace

import keras
import numpy as np

from ssd_keras.boxes import nms
from ssd_keras.models.post_process import PostProcess


def bound(post_process, default_boxes, variances, activation="softmax"):
    """A `PostProcess` as a model with these default boxes would own it."""
    spec = SimpleNamespace(variances=tuple(variances))
    boxes = np.asarray(default_boxes, "float32")
    model = SimpleNamespace(default_box_array=boxes, default_boxes=spec, activation=activation)
    return (post_process or PostProcess()).bound_to(model)


def builtin_of_each_image(boxes, scores, labels, *options):
    """The kernel of TFLite, which takes one image, for a batch."""
    images = [
        nms.builtin(boxes[i : i + 1], scores[i : i + 1], labels[i : i + 1], *options)
        for i in range(len(boxes))
    ]
    return {key: keras.ops.concatenate([one[key] for one in images]) for key in images[0]}
