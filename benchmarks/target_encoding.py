"""Matching and encoding of an image's ground truth, alone and in a batch as training does.

8732 default boxes, one core.

The peer is torchvision's way: `box_iou`, `SSDMatcher`, `BoxCoder`. The limit is the arithmetic of
the overlaps alone at the rate that a matrix product reaches on the same core, float32.
"""

import numpy as np
from images import generated_boxes
from pairs import Side, import_torchvision, ratios, repeated, row, spread, take_turns

COUNTS = (20, 100)
LIMIT_MILLISECONDS = {20: 1.0, 100: 3.0}
# Of one overlap: 4 edges compared, 2 sides, 2 compared with 0, product, union of 2, division; and
# the best of its row and of its column.
OPERATIONS = 14
PRODUCT_SIZE = 1024
BATCH_SIZE = 16


class SsdKeras:
    def __init__(self, count):
        import tensorflow as tf
        from input_pipeline import ssd300_default_boxes

        from ssd_keras.assigners.max_iou import TargetEncoder

        encoder = TargetEncoder(ssd300_default_boxes())
        self.encode_one = tf.function(lambda boxes, labels: encoder(boxes, labels))
        images = generated_boxes(BATCH_SIZE, count)
        self.batch = tuple(tf.constant(np.stack(one)) for one in zip(*images, strict=True))
        ((boxes, labels),) = generated_boxes(1, count)
        self.truth = tf.constant(boxes), tf.constant(labels)
        factors = tf.random.uniform([2, PRODUCT_SIZE, PRODUCT_SIZE])
        self.multiply = tf.function(lambda: tf.matmul(factors[0], factors[1]))

    def encode(self):
        return repeated(lambda: self.encode_one(*self.truth)["box_deltas"].numpy())

    def encode_batch(self):
        return repeated(lambda: self.encode_one(*self.batch)["box_deltas"].numpy())

    def product(self):
        return repeated(lambda: self.multiply().numpy())


class Torchvision:
    def __init__(self, count):
        import torch
        from input_pipeline import ssd300_default_boxes

        torch.set_num_threads(1)
        import_torchvision()
        from torchvision.models.detection._utils import BoxCoder, SSDMatcher
        from torchvision.ops.boxes import box_iou

        defaults = torch.tensor(ssd300_default_boxes()[:, [1, 0, 3, 2]] * 300)
        ((boxes, labels),) = generated_boxes(1, count)
        boxes, labels = torch.tensor(boxes[:, [1, 0, 3, 2]] * 300), torch.tensor(labels).long()
        matcher, coder = SSDMatcher(0.5), BoxCoder((10.0, 10.0, 5.0, 5.0))

        def encode_one():
            matched = matcher(box_iou(boxes, defaults))
            positive = matched >= 0
            owner = matched[positive]
            classes = torch.zeros(len(defaults), dtype=torch.int64)
            classes[positive] = labels[owner] + 1
            return coder.encode_single(boxes[owner], defaults[positive]), classes

        self.encode_one = encode_one

    def encode(self):
        return repeated(self.encode_one)


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}, "share_of_peak": {}}
    for count in COUNTS:
        with (
            Side("target_encoding", "ssd_keras", cores=1, count=count) as ours,
            Side("target_encoding", "torchvision", cores=1, count=count) as theirs,
        ):
            asks = {
                "ssd_keras": lambda side=ours: side.ask("encode"),
                "batch": lambda side=ours: side.ask("encode_batch"),
                "torchvision": lambda side=theirs: side.ask("encode"),
                "product": lambda side=ours: side.ask("product"),
            }
            seconds, others = take_turns(asks, 2 if tiny else 15, clock="core_seconds")
        # Work over rate: the least time that the arithmetic could take.
        least = np.array(seconds["product"]) / (2 * PRODUCT_SIZE**3) * OPERATIONS * 8732 * count
        share = ratios(least, seconds["ssd_keras"])
        result["seconds"][str(count)] = seconds
        result["others_share"][str(count)] = others
        result["share_of_peak"][str(count)] = share
        what = f"target encoding, 8732 default boxes, {count} ground truths, 1 core: "
        milliseconds = spread(1e3 * np.array(seconds["ssd_keras"]))
        in_a_batch = spread(1e3 / BATCH_SIZE * np.array(seconds["batch"]))
        limit = LIMIT_MILLISECONDS[count]
        result["rows"] += [
            row(what + "milliseconds", "the clock", milliseconds, "at most", limit),
            row(
                what + f"milliseconds an image in a batch of {BATCH_SIZE}",
                "the clock",
                in_a_batch,
                "at most",
                limit,
            ),
            row(what + "share", "a core's arithmetic", share, "report"),
            row(
                what + "time",
                "torchvision",
                ratios(seconds["ssd_keras"], seconds["torchvision"]),
                "report",
            ),
        ]
    return result
