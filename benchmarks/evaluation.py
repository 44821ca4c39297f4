"""COCO's metrics of 5,000 generated images: `coco_metrics` beside plain pycocotools.

Both start from annotations and detections in memory. Objects and detections are as many as on
COCO's val2017: 7 objects and 36 detections an image, 80 classes.
"""

import contextlib
import io

import numpy as np
from pairs import Side, ratios, row, take_turns, timed

NUM_CLASSES, WIDTH, HEIGHT = 80, 640, 480
OBJECTS, DETECTIONS = 7, 36


def generated(num_images):
    """COCO's "annotations" and results; half of the objects are found, a little beside."""
    generator = np.random.default_rng(5)
    annotations, results = [], []
    for image in range(1, num_images + 1):
        count = generator.poisson(OBJECTS)
        # Classes come together in an image: three of them, as on COCO.
        classes = generator.integers(1, NUM_CLASSES + 1, 3)
        boxes, labels = some_boxes(generator, count), generator.choice(classes, count)
        for box, label in zip(boxes, labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                }
            )
        found = boxes[::2] + generator.normal(0, 3, boxes[::2].shape)
        found[:, 2:] = np.maximum(found[:, 2:], 2)
        guesses = some_boxes(generator, DETECTIONS - len(found))
        labels = np.append(labels[::2], generator.choice(classes, len(guesses)))
        scores = generator.uniform(0, 1, len(labels))
        results += [
            {"image_id": image, "category_id": int(label), "bbox": box, "score": float(score)}
            for label, box, score in zip(
                labels, np.concatenate([found, guesses]).tolist(), scores, strict=True
            )
        ]
    return annotations, results


def some_boxes(generator, count):
    """x, y, width and height in pixels, float64 [count, 4]."""
    sides = np.exp(generator.uniform(np.log(8), np.log(400), (count, 2)))
    corners = generator.uniform(0, np.maximum([WIDTH, HEIGHT] - sides, 1))
    return np.concatenate([corners, sides], axis=1)


class Pycocotools:
    """COCO, loadRes, COCOeval: as its own demonstration does."""

    def __init__(self, num_images):
        from pycocotools.coco import COCO

        annotations, self.results = generated(num_images)
        self.truth = COCO()
        self.truth.dataset = {
            "info": {},
            "images": [
                {"id": number, "width": WIDTH, "height": HEIGHT}
                for number in range(1, num_images + 1)
            ],
            "categories": [{"id": number} for number in range(1, NUM_CLASSES + 1)],
            "annotations": annotations,
        }

    def evaluate(self):
        from pycocotools.cocoeval import COCOeval

        def run():
            with contextlib.redirect_stdout(io.StringIO()):
                self.truth.createIndex()
                evaluation = COCOeval(self.truth, self.truth.loadRes(self.results), "bbox")
                evaluation.evaluate()
                evaluation.accumulate()
                evaluation.summarize()
            return evaluation.stats[0]

        result, average_precision = timed(run)
        return result | {"AP": float(average_precision)}


class SsdKeras:
    """`coco_metrics` on a data set in memory."""

    def __init__(self, num_images):
        from ssd_keras.data.records import DetectionData, Example

        annotations, self.results = generated(num_images)
        of_image = {number: [] for number in range(1, num_images + 1)}
        for annotation in annotations:
            of_image[annotation["image_id"]].append(annotation)
        examples = []
        for number, objects in of_image.items():
            no = np.zeros(len(objects), bool)
            boxes = np.array([one["bbox"] for one in objects], np.float64).reshape(-1, 4)
            labels = np.array([one["category_id"] - 1 for one in objects], np.int32)
            areas = boxes[:, 2] * boxes[:, 3]
            examples.append(Example(number, b"", HEIGHT, WIDTH, boxes, labels, no, no, areas))
        names = tuple(f"class {number}" for number in range(1, NUM_CLASSES + 1))
        self.data = DetectionData(names, tuple(examples))

    def evaluate(self):
        from ssd_keras.evaluation.coco import coco_metrics

        result, metrics = timed(lambda: coco_metrics(self.data, self.results))
        return result | {"AP": metrics["AP"]}


SIDES = {"ssd_keras": SsdKeras, "pycocotools": Pycocotools}


def benchmark(tiny):
    num_images, rounds = (20, 2) if tiny else (5000, 2)
    with (
        Side("evaluation", "ssd_keras", num_images=num_images) as ours,
        Side("evaluation", "pycocotools", num_images=num_images) as theirs,
    ):
        asks = {
            "ssd_keras": lambda: ours.ask("evaluate"),
            "pycocotools": lambda: theirs.ask("evaluate"),
        }
        precisions = {name: ask()["AP"] for name, ask in asks.items()}  # the round to warm up
        seconds, others = take_turns(asks, rounds, warm_up=0)
    ratio = ratios(seconds["ssd_keras"], seconds["pycocotools"])
    return {
        "rows": [
            row(
                f"COCO metrics of {num_images} images: time",
                "plain pycocotools",
                ratio,
                "at most",
                1,
            )
        ],
        "seconds": seconds,
        "AP": precisions,
        "others_share": others,
    }
