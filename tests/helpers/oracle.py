"""Slow, plain NumPy statements of SSD's rules, to compare the fast ones with.

Written from the paper and the constants of its Caffe implementation, independently of the
package: loops instead of broadcasts, float64 throughout, no option that a test does not need.
Boxes are relative yxyx, deltas are (y, x, h, w) in TensorFlow's order, and labels are 0-based
without background unless a docstring says otherwise.
"""

from __future__ import annotations

import math

import numpy as np

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Of the deltas (y, x, h, w), in that order."""

MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The paper's crop samplers with a smallest IoU; beside them "original" and "largest IoU 1"."""


def default_boxes(
    image_size, feature_sizes, sizes, aspect_ratios, steps=None, offset=0.5, clip="none"
):
    """Default boxes of every map, [N, 4] relative yxyx, scanned by row, column, then shape.

    `image_size` and `feature_sizes` are (height, width); `sizes` holds one pixel size a map and
    one more; `steps` are pixels a cell (None: image / feature size). Shapes of a cell: ratio 1 at
    the map's size, ratio 1 at sqrt(size * next size), then each ratio and its reciprocal.
    `clip` "size" limits widths and heights to 1 (torchvision), "corners" limits the corners to
    0..1 (Caffe's `clip`).
    """
    image_height, image_width = image_size
    boxes = []
    for k, (rows, columns) in enumerate(feature_sizes):
        small, between = sizes[k], math.sqrt(sizes[k] * sizes[k + 1])
        shapes = [(small, small), (between, between)]  # (height, width), pixels
        for ratio in aspect_ratios[k]:
            root = math.sqrt(ratio)
            shapes.append((small / root, small * root))
            shapes.append((small * root, small / root))
        step_y = image_height / rows if steps is None else steps[k]
        step_x = image_width / columns if steps is None else steps[k]
        for row in range(rows):
            for column in range(columns):
                y = (row + offset) * step_y / image_height
                x = (column + offset) * step_x / image_width
                for height, width in shapes:
                    h, w = height / image_height, width / image_width
                    if clip == "size":
                        h, w = min(h, 1.0), min(w, 1.0)
                    boxes.append((y - h / 2, x - w / 2, y + h / 2, x + w / 2))
    boxes = np.array(boxes, dtype=np.float64)
    return np.clip(boxes, 0.0, 1.0) if clip == "corners" else boxes


def iou(a, b):
    """IoU of two boxes, 0 where their union has no area."""
    return _iou(*np.asarray(a, np.float64).tolist(), *np.asarray(b, np.float64).tolist())


def _iou(a_ymin, a_xmin, a_ymax, a_xmax, b_ymin, b_xmin, b_ymax, b_xmax):
    """`iou` of Python's floats, which a loop computes several times faster than NumPy's."""
    height = max(0.0, min(a_ymax, b_ymax) - max(a_ymin, b_ymin))
    width = max(0.0, min(a_xmax, b_xmax) - max(a_xmin, b_xmin))
    intersection = height * width
    area_a, area_b = (a_ymax - a_ymin) * (a_xmax - a_xmin), (b_ymax - b_ymin) * (b_xmax - b_xmin)
    union = area_a + area_b - intersection
    return intersection / union if union > 0 else 0.0


def iou_matrix(boxes, others):
    """IoU of every box with every other box, [len(boxes), len(others)]."""
    matrix = np.zeros((len(boxes), len(others)))
    rows, columns = (np.asarray(x, np.float64).tolist() for x in (boxes, others))
    for i, box in enumerate(rows):
        matrix[i] = [_iou(*box, *other) for other in columns]
    return matrix


def _centres_and_sizes(boxes):
    ymin, xmin, ymax, xmax = np.asarray(boxes, np.float64).T
    return (ymin + ymax) / 2, (xmin + xmax) / 2, ymax - ymin, xmax - xmin


def encode(boxes, default_boxes, variances=VARIANCES):
    """Deltas [N, 4] (y, x, h, w) that lead from default box i to box i."""
    y, x, h, w = _centres_and_sizes(boxes)
    default_y, default_x, default_h, default_w = _centres_and_sizes(default_boxes)
    deltas = (
        (y - default_y) / default_h / variances[0],
        (x - default_x) / default_w / variances[1],
        np.log(h / default_h) / variances[2],
        np.log(w / default_w) / variances[3],
    )
    return np.stack(deltas, axis=-1)


def decode(deltas, default_boxes, variances=VARIANCES):
    """Boxes [N, 4] to which the deltas (y, x, h, w) lead; the inverse of `encode`."""
    delta_y, delta_x, delta_h, delta_w = np.asarray(deltas, np.float64).T
    default_y, default_x, default_h, default_w = _centres_and_sizes(default_boxes)
    y = default_y + delta_y * variances[0] * default_h
    x = default_x + delta_x * variances[1] * default_w
    h = default_h * np.exp(delta_h * variances[2])
    w = default_w * np.exp(delta_w * variances[3])
    return np.stack((y - h / 2, x - w / 2, y + h / 2, x + w / 2), axis=-1)


def match(boxes, default_boxes, threshold=0.5):
    """Index of the ground truth that each default box takes, [N], -1 for none.

    First each ground truth claims a default box: the pair of the highest IoU among those still
    free, again and again, no pair of IoU <= 1e-6 (ties: lowest ground truth, then lowest default
    box). Then every other default box takes its best ground truth from `threshold` on
    (ties: lowest ground truth).
    """
    ious = iou_matrix(boxes, default_boxes)
    matched = np.full(len(default_boxes), -1, dtype=np.int64)
    free = ious.copy()
    while free.size and free.max() > 1e-6:
        i, j = np.unravel_index(np.argmax(free), free.shape)  # the first of equal pairs, by rows
        matched[j] = i
        free[i, :] = free[:, j] = 0
    for j in range(len(default_boxes)):
        if matched[j] < 0 and len(boxes):
            i = int(np.argmax(ious[:, j]))
            if ious[i, j] >= threshold:
                matched[j] = i
    return matched


def softmax(logits):
    """Probabilities over the last axis."""
    logits = np.asarray(logits, np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def smooth_l1(error):
    """x^2 / 2 within 1 of zero, |x| - 1/2 beyond."""
    error = abs(float(error))
    return error * error / 2 if error < 1 else error - 0.5


def loss(
    box_deltas,
    class_logits,
    target_deltas,
    target_labels,
    negatives_per_positive=3,
    min_negatives=0,
):
    """The paper's two losses of a batch, (box loss, class loss).

    `target_labels` [B, N] count background as 0; -1 marks default boxes that take no part. The
    hardest negatives are chosen in each image; both sums are divided by the number of positives
    in the whole batch, or by 1 where there is none.
    """
    box_sum, class_sum, num_positives = 0.0, 0.0, 0
    for image, labels in enumerate(np.asarray(target_labels)):
        probabilities = softmax(class_logits[image])
        positives, negative_losses = 0, []
        for j, label in enumerate(labels):
            if label > 0:
                positives += 1
                class_sum += -math.log(probabilities[j, label])
                for c in range(4):
                    error = float(box_deltas[image][j][c]) - float(target_deltas[image][j][c])
                    box_sum += smooth_l1(error)
            elif label == 0:
                negative_losses.append(-math.log(probabilities[j, 0]))
        num_negatives = max(int(negatives_per_positive * positives), min_negatives)
        class_sum += sum(sorted(negative_losses, reverse=True)[:num_negatives])
        num_positives += positives
    return box_sum / max(1, num_positives), class_sum / max(1, num_positives)


def non_max_suppression(boxes, scores, iou_threshold):
    """Indices that survive, best first: a box goes when its IoU with a better one is above."""
    kept = []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if all(iou(boxes[i], boxes[j]) <= iou_threshold for j in kept):
            kept.append(int(i))
    return kept


def detections(
    box_deltas,
    class_logits,
    default_boxes,
    variances=VARIANCES,
    score_threshold=0.01,
    iou_threshold=0.45,
    max_candidates=400,
    max_detections=200,
    max_detections_per_class=None,
    candidates_per_class=True,
    class_agnostic=False,
    clip_boxes="none",
):
    """Per image, the detections [(box, score, label)] in descending score.

    Per class: scores above the threshold, the best `max_candidates` of them, NMS, the best
    `max_detections_per_class`; then the best `max_detections` over all classes. `clip_boxes`
    limits boxes to 0..1 "before" or "after" NMS. Without `candidates_per_class` the best
    `max_candidates` are those of all classes together. With `class_agnostic` each box counts in
    its best class alone, and NMS looks at no class.
    """
    images = []
    for deltas, logits in zip(box_deltas, class_logits, strict=True):
        boxes = decode(deltas, default_boxes, variances)
        if clip_boxes == "before":
            boxes = np.clip(boxes, 0.0, 1.0)
        scores = softmax(logits)[:, 1:]
        if class_agnostic:
            scores = np.where(scores == scores.max(axis=1, keepdims=True), scores, 0.0)
        if class_agnostic or not candidates_per_class:
            best = np.argsort(-scores, axis=None, kind="stable")[:max_candidates]
            chosen = np.zeros_like(scores, bool)
            chosen.flat[best] = True
            scores = np.where(chosen, scores, 0.0)
        columns = np.arange(scores.shape[1])[None]
        found = []
        for labels in columns if class_agnostic else columns.T:
            flat, labels = scores[:, labels].ravel(), np.tile(labels, len(scores))
            rows = np.repeat(np.arange(len(scores)), len(flat) // len(scores))
            candidates = np.flatnonzero(flat > score_threshold)
            candidates = candidates[np.argsort(-flat[candidates], kind="stable")][:max_candidates]
            overlapping = boxes[rows[candidates]]
            for i in non_max_suppression(overlapping, flat[candidates], iou_threshold):
                index = candidates[i]
                box = overlapping[i].clip(0.0, 1.0) if clip_boxes == "after" else overlapping[i]
                found.append((box, float(flat[index]), int(labels[index])))
        found.sort(key=lambda detection: -detection[1])
        kept = []
        for detection in found:
            num_better = sum(label == detection[2] for _, _, label in kept)
            if max_detections_per_class is None or num_better < max_detections_per_class:
                kept.append(detection)
        images.append(kept[:max_detections])
    return images


def sample_window(generator):
    """One random crop window, yxyx: scale U(.3, 1), ratio U(.5, 2) within what fits."""
    # Four draws of U(0, 1) in one call, because a call takes longer than the rest.
    for_scale, for_ratio, for_x, for_y = generator.random(4).tolist()
    scale = 0.3 + (1.0 - 0.3) * for_scale
    lowest, highest = max(0.5, scale**2), min(2.0, 1 / scale**2)
    ratio = lowest + (highest - lowest) * for_ratio
    width, height = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
    xmin, ymin = (1 - width) * for_x, (1 - height) * for_y
    return np.array((ymin, xmin, ymin + height, xmin + width))


def crop_samplers(boxes, generator):
    """The paper's random crop of one image: (window, kept boxes, kept indices).

    Seven samplers: the whole image; a crop whose IoU with any box is at least .1, .3, .5, .7 or
    .9; a crop whose IoU with any box is at most 1, that is any crop. Each tries 50 times and adds
    at most one window; one window is drawn uniformly from those added. An image without boxes
    keeps its whole. Boxes stay if their centre is in the window; they are clipped to it and given
    in its coordinates.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    windows, rows = [np.array((0.0, 0.0, 1.0, 1.0))], boxes.tolist()
    for min_iou in (*MIN_IOUS, 0.0):
        for _ in range(50):
            window = sample_window(generator)
            corners = window.tolist()
            if any(_iou(*corners, *box) >= min_iou for box in rows):
                windows.append(window)
                break
    window = windows[generator.integers(len(windows))]
    ymin, xmin, ymax, xmax = window
    height, width = ymax - ymin, xmax - xmin
    kept_boxes, kept = [], []
    for i, box in enumerate(boxes):
        y, x = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if ymin <= y <= ymax and xmin <= x <= xmax:
            corners = (box - (ymin, xmin, ymin, xmin)) / (height, width, height, width)
            kept_boxes.append(np.clip(corners, 0.0, 1.0))
            kept.append(i)
    return window, np.array(kept_boxes).reshape(-1, 4), np.array(kept, dtype=np.int64)


def zoom_out(boxes, generator, probability=0.5, max_ratio=4.0):
    """The paper's expansion of one image: (window, boxes).

    With `probability` the image lands at a uniform position on a canvas U(1, max_ratio) times as
    long on each side. The window is the canvas in the image's coordinates (0, 0, 1, 1 where
    nothing happened), the boxes are in the canvas's.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if generator.uniform() >= probability:
        return np.array((0.0, 0.0, 1.0, 1.0)), boxes
    ratio = generator.uniform(1.0, max_ratio)
    y, x = generator.uniform(0, ratio - 1), generator.uniform(0, ratio - 1)
    window = np.array((-y, -x, ratio - y, ratio - x))
    return window, (boxes + np.array((y, x, y, x))) / ratio
