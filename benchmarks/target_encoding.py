"""Matching and encoding of the ground truth of an image, and of a batch, with 8732 default boxes.

The peer is torchvision's `box_iou`, `SSDMatcher` and `BoxCoder`; all on one core.
"""

from functools import partial

import numpy as np
from pairs import Side, ratios, repeated, row, spread, take_turns
from peers import generated_boxes, import_torchvision, ssd300_default_boxes

LIMIT_MILLISECONDS = {20: 1.0, 100: 3.0}  # by the number of ground truths
BATCH_SIZE = 16


class SsdKeras:
    def __init__(self, count):
        import tensorflow as tf

        from ssd_keras import MaxIoUAssigner, TargetEncoder

        self.encoder = tf.function(TargetEncoder(MaxIoUAssigner(), ssd300_default_boxes()).__call__)
        self.batch = [tf.constant(values) for values in generated_boxes(BATCH_SIZE, count)]
        self.truth = [tf.constant(values[0]) for values in generated_boxes(1, count)]

    def encode(self):
        return repeated(lambda: self.encoder(*self.truth)["box_deltas"].numpy())

    def encode_batch(self):
        return repeated(lambda: self.encoder(*self.batch)["box_deltas"].numpy())


class Torchvision:
    def __init__(self, count):
        import torch

        torch.set_num_threads(1)
        import_torchvision()
        from torchvision.models.detection._utils import BoxCoder, SSDMatcher
        from torchvision.ops.boxes import box_iou

        defaults = torch.tensor(ssd300_default_boxes()[:, [1, 0, 3, 2]] * 300)
        boxes, labels = (torch.tensor(values[0]) for values in generated_boxes(1, count))
        boxes, labels = boxes[:, [1, 0, 3, 2]] * 300, labels.long()
        matcher, coder = SSDMatcher(0.5), BoxCoder((10.0, 10.0, 5.0, 5.0))

        def encode():
            matched = matcher(box_iou(boxes, defaults))
            positive = matched >= 0
            owner = matched[positive]
            classes = torch.zeros(len(defaults), dtype=torch.int64)
            classes[positive] = labels[owner] + 1
            return coder.encode_single(boxes[owner], defaults[positive]), classes

        self.encode = lambda: repeated(encode)


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}}
    for count, limit in LIMIT_MILLISECONDS.items():
        side = partial(Side, "target_encoding", cores=1, count=count)
        with side("ssd_keras") as ours, side("torchvision") as theirs:
            asks = {"ssd_keras": ours.encode, "batch": ours.encode_batch}
            asks["torchvision"] = theirs.encode
            seconds, others = take_turns(asks, 2 if tiny else 15, clock="core_seconds")
        result["seconds"][str(count)], result["others_share"][str(count)] = seconds, others
        encoding, batch = np.array(seconds["ssd_keras"]), np.array(seconds["batch"])
        what = f"target encoding, 8732 default boxes, {count} ground truths, 1 core: "
        in_batch = what + f"milliseconds an image in a batch of {BATCH_SIZE}"
        result["rows"] += [
            row(what + "milliseconds", "the clock", spread(1e3 * encoding), at_most=limit),
            row(in_batch, "the clock", spread(1e3 / BATCH_SIZE * batch), at_most=limit),
            row(what + "time", "torchvision", ratios(encoding, seconds["torchvision"])),
        ]
    return result
