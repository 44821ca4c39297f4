"""COCO metrics of 5,000 generated images: `coco_metrics` against plain pycocotools.

Both start from data in memory, as many as on COCO's val2017 by image, of 80 classes.
"""

import contextlib

import numpy as np
from pairs import Side, ratios, row, take_turns, timed
from peers import HEIGHT, WIDTH, detection_data

NUM_CLASSES, OBJECTS, DETECTIONS = 80, 7, 36


def generated(num_images):
    """Boxes and labels of each image, and COCO's results, which find half of the objects."""
    generator = np.random.default_rng(5)
    truth, results = [], []
    for image in range(1, num_images + 1):
        count = generator.poisson(OBJECTS)
        # An image has objects of few classes: three of them, as on COCO.
        classes = generator.integers(1, NUM_CLASSES + 1, 3)
        boxes, labels = some_boxes(generator, count), generator.choice(classes, count)
        truth.append((boxes, (labels - 1).astype("int32")))
        found = boxes[::2] + generator.normal(0, 3, boxes[::2].shape)
        found[:, 2:] = np.maximum(found[:, 2:], 2)
        boxes = np.concatenate([found, some_boxes(generator, DETECTIONS - len(found))])
        labels = np.append(labels[::2], generator.choice(classes, DETECTIONS - len(found)))
        for label, box in zip(labels.tolist(), boxes.tolist(), strict=True):
            one = {"image_id": image, "category_id": label, "bbox": box}
            results.append(one | {"score": generator.uniform()})
    return truth, results


def some_boxes(generator, count):
    """x, y, width and height in pixels."""
    sides = np.exp(generator.uniform(np.log(8), np.log(400), (count, 2)))
    corners = generator.uniform(0, np.maximum([WIDTH, HEIGHT] - sides, 1))
    return np.concatenate([corners, sides], axis=1)


class Pycocotools:
    """COCO, loadRes and COCOeval, as in pycocotools' own demonstration."""

    def __init__(self, num_images):
        from pycocotools.coco import COCO

        truth, self.results = generated(num_images)
        annotations = []
        for image, (boxes, labels) in enumerate(truth, 1):
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                one = {"id": 1 + len(annotations), "image_id": image, "category_id": label + 1}
                annotations.append(one | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0})
        images = range(1, num_images + 1)
        self.truth = COCO()
        self.truth.dataset = {
            "info": {},
            "images": [{"id": image, "width": WIDTH, "height": HEIGHT} for image in images],
            "categories": [{"id": number} for number in range(1, NUM_CLASSES + 1)],
            "annotations": annotations,
        }

    def evaluate(self):
        from pycocotools.cocoeval import COCOeval

        def run():
            self.truth.createIndex()
            evaluation = COCOeval(self.truth, self.truth.loadRes(self.results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            return float(evaluation.stats[0])

        with contextlib.redirect_stdout(None):
            result, average_precision = timed(run)
        return result | {"AP": average_precision}


class SsdKeras:
    def __init__(self, num_images):
        truth, self.results = generated(num_images)
        self.data = detection_data([b""] * num_images, truth, NUM_CLASSES)

    def evaluate(self):
        from ssd_keras.evaluation.coco import coco_metrics

        result, metrics = timed(lambda: coco_metrics(self.data, self.results))
        return result | {"AP": metrics["AP"]}


SIDES = {"ssd_keras": SsdKeras, "pycocotools": Pycocotools}


def benchmark(tiny):
    num_images = 20 if tiny else 5000
    ours, theirs = (Side("evaluation", name, num_images=num_images) for name in SIDES)
    with ours, theirs:
        asks = {"ssd_keras": ours.evaluate, "pycocotools": theirs.evaluate}
        precisions = {name: ask()["AP"] for name, ask in asks.items()}  # the round to warm up
        seconds, others = take_turns(asks, rounds=2, warm_up=0)
    what = f"COCO metrics of {num_images} images: time"
    rows = [row(what, "plain pycocotools", ratios(*seconds.values()), at_most=0.3)]
    return {"rows": rows, "seconds": seconds, "AP": precisions, "others_share": others}
