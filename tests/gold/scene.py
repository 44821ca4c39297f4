"""The scene of the gold numbers: boxes, and raw outputs of a detector that is half right.

The script that makes the gold and the tests that use it import this module, so that the large raw
outputs need not be stored. It needs NumPy and the oracle's default boxes alone.
"""

import numpy as np
import oracle

SSD300 = {
    "image_size": (300, 300),
    "feature_sizes": [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)],
    "sizes": (21, 45, 99, 153, 207, 261, 315),
    "aspect_ratios": ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    "steps": (8, 16, 32, 64, 100, 300),
    "clip": "size",
}
"""torchvision's ssd300_vgg16: the paper's sizes for COCO, widths and heights limited to 1."""

SSDLITE320 = {
    "image_size": (320, 320),
    "feature_sizes": [(20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)],
    "sizes": (64, 112, 160, 208, 256, 304, 320),
    "aspect_ratios": ((2, 3),) * 6,
    "steps": None,
    "clip": "size",
}
"""torchvision's ssdlite320_mobilenet_v3_large: scales 0.2 to 0.95 and 1, no steps."""

SSD300_OUTPUTS = {"variances": (0.1, 0.1, 0.2, 0.2), "background": 8.5, "seed": 42}
"""Leaves 70 to 320 candidates an image above 0.01, of which 30 to 50 survive."""

SSDLITE320_OUTPUTS = {"variances": (0.1, 0.125, 0.25, 0.2), "background": 9.5, "seed": 32}
"""Variances of (y, x, h, w): four different numbers, not torchvision's, so that a wrong order
shows. Leaves about 1000 candidates an image above 0.001."""

SSD300_POST_PROCESSING = {
    "score_threshold": 0.01,
    "iou_threshold": 0.45,
    "max_candidates": 400,
    "max_detections": 200,
}
"""torchvision's own, which are the paper's."""

SSDLITE320_POST_PROCESSING = {
    "score_threshold": 0.001,
    "iou_threshold": 0.55,
    "max_candidates": 30,
    "max_detections": 150,
}
"""torchvision's own thresholds; its limits are 300 and 300, these have an effect."""

# The seeds are chosen so that no score, IoU or gap between neighbouring scores is within 2e-5
# (relative) of a decision: float32 and float64 must decide alike.

NUM_CLASSES = 20  # beside background

BOXES = (
    # A street: people, cars behind one another, a dog, a sign. Pixels of 300, yxyx.
    [
        (92.3, 14.6, 287.1, 83.2),
        (125.7, 62.4, 281.9, 129.5),
        (140.2, 150.9, 221.6, 288.3),
        (128.4, 201.3, 190.7, 293.8),
        (231.6, 118.2, 290.4, 199.7),
        (25.1, 153.4, 93.7, 210.2),
        (44.9, 236.7, 131.3, 266.7),
        (15.2, 25.8, 71.4, 110.3),
    ],
    # One animal that fills the image.
    [(21.8, 37.4, 284.6, 271.9)],
    # A table, a bottle on it, a chair cut by the edge.
    [
        (151.3, 22.7, 283.9, 259.4),
        (71.6, 131.8, 168.3, 163.1),
        (112.4, 231.5, 298.2, 299.6),
    ],
)
LABELS = ([14, 14, 6, 6, 11, 19, 8, 18], [7], [10, 4, 8])


def scene():
    """Three images: [(boxes float32 [n, 4] relative yxyx, labels int32 [n] 0-based)]."""
    return [
        (
            np.array(boxes, np.float64).astype(np.float32) / np.float32(300),
            np.array(labels, np.int32),
        )
        for boxes, labels in zip(BOXES, LABELS, strict=True)
    ]


def raw_outputs(settings, variances, background, seed):
    """Raw outputs, float32: box deltas [3, N, 4] (y, x, h, w), class logits [3, N, 21].

    Noise everywhere, with a mean of `background` at the background's logit; where a default box
    overlaps a ground truth, deltas that lead near it and a logit that grows with the IoU, for some
    also at a wrong class.
    """
    generator = np.random.default_rng(seed)
    default_boxes = oracle.default_boxes(**settings)
    all_deltas, all_logits = [], []
    for boxes, labels in scene():
        deltas = generator.normal(0.0, 0.5, (len(default_boxes), 4))
        logits = generator.normal(0.0, 0.8, (len(default_boxes), 1 + NUM_CLASSES))
        logits[:, 0] += background
        iou_matrix = oracle.iou_matrix(boxes, default_boxes)
        best = iou_matrix.argmax(axis=0)
        for j in np.flatnonzero(iou_matrix.max(axis=0) > 0.3):
            iou, box, label = iou_matrix[best[j], j], boxes[best[j]], labels[best[j]]
            deltas[j] += oracle.encode([box], default_boxes[[j]], variances)[0]
            logits[j, 1 + label] += 12.0 * iou
            if generator.uniform() < 0.3:
                logits[j, 1 + (label + 1) % NUM_CLASSES] += 9.0 * iou
        all_deltas.append(deltas)
        all_logits.append(logits)
    return np.float32(all_deltas), np.float32(all_logits)
