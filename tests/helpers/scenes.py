"""Annotated images of 800x600 and detections in them, as records without pixels."""

import numpy as np

from ssd_keras.data.records import DetectionData, Example


def example(image_id, boxes, labels, *, difficult=None, crowd=None, areas=None, image=b""):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    flags = [np.zeros(len(boxes), bool) if f is None else np.array(f) for f in (difficult, crowd)]
    areas = boxes[:, 2] * boxes[:, 3] if areas is None else np.array(areas, np.float64)
    labels = np.array(labels, np.int32)
    return Example(image_id, image, 600, 800, boxes, labels, flags[0], flags[1], areas)


def detection(image_id, box, score, category_id=1):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}


def random_scene(seed, *, ids=None, category_ids=(), num_classes=4, whole=True):
    """Images of dense objects and detections around them; whole pixels, equal scores."""
    rng = np.random.default_rng(seed)
    examples, detections = [], []
    for k, image_id in enumerate(ids or [f"image_{k}" for k in range(12)]):
        n = 0 if k == 3 else int(rng.integers(1, 9))
        boxes = np.concatenate([rng.uniform(0, 300, (n, 2)), rng.uniform(8, 200, (n, 2))], 1)
        boxes = np.round(boxes) if whole else boxes
        labels = rng.integers(0, num_classes - 1, n)  # the last class has no object
        examples.append(
            example(image_id, boxes, labels, difficult=rng.random(n) < 0.2, crowd=np.zeros(n, bool))
        )
        for _ in range(30):
            has_object = n and rng.random() < 0.7
            index = rng.integers(n) if has_object else 0
            box = boxes[index] if has_object else rng.uniform(10, 200, 4)
            box = np.abs(box + rng.normal(0, 8, 4))
            box = np.round(box) if whole else box
            label = labels[index] if has_object else rng.integers(num_classes)
            category_id = category_ids[label] if category_ids else int(label) + 1
            score = float(np.round(rng.random(), 2))
            detections.append(detection(image_id, box.tolist(), score, category_id))
    names = tuple(f"class {k}" for k in range(num_classes))
    return DetectionData(names, tuple(examples), category_ids=tuple(category_ids)), detections


def coco_file(data):
    annotations = []
    for e in data.examples:
        for k in range(len(e.labels)):
            annotations.append(
                {
                    "id": len(annotations) + 100,
                    "image_id": e.image_id,
                    "category_id": data.category_ids[e.labels[k]],
                    "bbox": e.boxes[k].tolist(),
                    "area": float(e.areas[k]),
                    "iscrowd": int(e.is_crowd[k]),
                }
            )
    images = [{"id": e.image_id, "file_name": f"{e.image_id}.jpg"} for e in data.examples]
    categories = [
        {"id": i, "name": name} for i, name in zip(data.category_ids, data.class_names, strict=True)
    ]
    return {"images": images, "categories": categories, "annotations": annotations}
