"""Detections of several processes are those of one, in its order; no process is needed."""

import numpy as np
from trainings import train_data

from ssd_keras.engine.detector import detect_data
from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.engine.distributed.shared_detection import detect_shared, images_of
from ssd_keras.evaluation.coco import coco_metrics


class PixelDetector:
    """Finds as many boxes in an image as its mean says; the scores are floats of all digits."""

    class_names = train_data().class_names
    image_size = (64, 64)

    def __call__(self, images):
        means = np.asarray(images, np.float64).mean(axis=(1, 2, 3))
        count = means.astype(int) % 7
        grid = np.arange(1, 7)
        ends = np.minimum(1.0, means[:, None] / 255 * grid / 3)
        starts = ends / (grid + 1)
        return {
            "boxes": np.stack([starts, starts, ends, ends], axis=-1).astype(np.float32),
            "scores": np.sin(means[:, None] * grid).astype(np.float32) ** 2,
            "labels": (means[:, None].astype(int) + grid) % len(self.class_names),
            "num_detections": np.minimum(count, 6),
        }


class Recorded(ProcessGroup):
    """A process whose `gather` returns what all of them have sent so far."""

    def __init__(self, index, size, sent):
        super().__init__(index, size)
        self.sent = sent

    def gather(self, data):
        self.sent[self.index] = data
        return [self.sent[index] for index in sorted(self.sent)]


def test_each_image_is_validated_once():
    assert [images_of(i, 2, 40, 16) for i in range(2)] == [(0, 16), (16, 40)]
    assert [images_of(i, 3, 17, 16) for i in range(3)] == [(0, 0), (0, 16), (16, 17)]
    for size in range(1, 6):
        for count in range(60):
            parts = [images_of(i, size, count, 4) for i in range(size)]
            assert [x for first, last in parts for x in range(first, last)] == list(range(count))


def test_shared_detections_and_metrics_are_those_of_one_process():
    data, detector = train_data(), PixelDetector()
    one, _ = detect_data(detector, data, 5)
    assert len(one) > 50
    for size in (2, 3, 9):  # 7 batches: with nine processes two have none
        sent = {}
        for index in reversed(range(size)):
            found = detect_shared(detector, data, 5, Recorded(index, size, sent))
            assert (found is None) == (index > 0)
        for name in ("image_index", "labels", "boxes", "scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
            assert getattr(found, name).dtype == getattr(one, name).dtype
        assert coco_metrics(data, found) == coco_metrics(data, one)
