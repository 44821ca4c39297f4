"""SavedModels of SSD300-VGG16 with NMS, float32 and bfloat16, against torchvision's eval mode.

Both take decoded images of 640 x 480, resize them and have the same weights.
"""

import os
import tempfile
from functools import partial

import numpy as np
import peers
from pairs import Side, ratios, repeated, row, take_turns, timed
from peers import HEIGHT, WIDTH, generated_squares

PRODUCT_SIZE, PRODUCT = 2048, "the machine's matrix product"
TIME_TARGETS, RATE_TARGETS = {1: 0.95, 8: 0.75}, {1: None, 8: 0.95}  # by batch size


class Torchvision:
    def __init__(self, weights, batch_size):
        import torch

        self.torch, self.model = torch, peers.torchvision_model(peers.SSD300).eval()
        images = generated_squares(batch_size, HEIGHT, WIDTH).transpose(0, 3, 1, 2)
        self.images = list(torch.tensor(images / 255).float())
        resized, _ = self.model.transform(self.images[:1])
        peers.share_weights(self.model, weights, resized.tensors)

    def detect(self):
        with self.torch.inference_mode():
            result, found = timed(lambda: self.model(self.images))
        return result | {"counts": [len(one["scores"]) for one in found]}


class SsdKeras:
    """A SavedModel of the same weights, signature image_tensor, and a matrix product."""

    def __init__(self, weights, batch_size, precision="float32"):
        import tensorflow as tf

        from ssd_keras.exporters.saved_model import write_saved_model

        folder = os.path.join(os.path.dirname(weights), precision)
        if not os.path.exists(folder):
            write_saved_model(peers.imported(weights), folder, precision=precision)
        self.loaded = tf.saved_model.load(folder)
        self.function = self.loaded.signatures["image_tensor"]
        self.images = tf.constant(generated_squares(batch_size, HEIGHT, WIDTH))
        self.multiply = peers.tensorflow_product(PRODUCT_SIZE)

    def detect(self):
        images, detect = self.images, self.function
        result, found = timed(lambda: {k: v.numpy() for k, v in detect(images=images).items()})
        return result | {"counts": found["num_detections"].tolist()}

    def product(self):
        return repeated(self.multiply)


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}, "detections": {}}
    with tempfile.TemporaryDirectory() as folder:
        for batch_size in (1,) if tiny else TIME_TARGETS:
            rounds = 1 if tiny else 8 // batch_size + 3
            weights, key = os.path.join(folder, "weights.pth"), str(batch_size)
            seconds, result["others_share"][key], counts = measure(weights, batch_size, rounds)
            result["seconds"][key], result["detections"][key] = seconds, counts
            result["rows"] += rows(seconds, batch_size)
    return result


def measure(weights, batch_size, rounds):
    """Seconds of all sides, the share of other processes, and each side's detections."""
    side = partial(Side, "inference", weights=weights, batch_size=batch_size)
    with side("torchvision") as theirs:
        theirs.detect()  # its weights are written
        with side("ssd_keras") as ours, side("ssd_keras", precision="bfloat16") as bfloat16:
            asks = {
                "ssd_keras": ours.detect, "bfloat16": bfloat16.detect,
                "torchvision": theirs.detect, "product": ours.product,
            }  # fmt: skip
            seconds, others = take_turns(asks, rounds)
            answers = {name: ask() for name, ask in asks.items() if name != "product"}
    return seconds, others, {name: answer["counts"] for name, answer in answers.items()}


def rows(seconds, batch_size):
    what = f"inference SSD300-VGG16 with suppression, SavedModel, batch {batch_size}: "
    in_bfloat16 = what.replace("SavedModel", "bfloat16 SavedModel") + "time"
    ours, half = seconds["ssd_keras"], ratios(seconds["bfloat16"], seconds["ssd_keras"])
    theirs = ratios(ours, seconds["torchvision"])
    least = peers.FORWARD_GFLOP * 1e9 * batch_size / (2 * PRODUCT_SIZE**3)
    rate = ratios(np.array(seconds["product"]) * least, ours)
    return [
        row(what + "time", "torchvision in eval mode", theirs, at_most=TIME_TARGETS[batch_size]),
        row(what + "rate", PRODUCT, rate, at_least=RATE_TARGETS[batch_size]),
        row(in_bfloat16, "its float32", half, at_most=0.6),
    ]
