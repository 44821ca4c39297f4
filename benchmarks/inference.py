"""SSD300-VGG16 with suppression: our SavedModels beside torchvision's model in eval mode.

Both take decoded images of 640 x 480, resize them, and have the same weights, whose heads are
scaled until scores vary as a trained model's do. Where torchvision's compiled suppression does not
load, a plain one takes its place, and its time is taken off torchvision's.
"""

import os
import tempfile
import time

import numpy as np
from images import HEIGHT, NUM_CLASSES, WIDTH
from pairs import Side, import_torchvision, ratios, row, take_turns, timed
from training_step import FORWARD_GFLOP

BATCHES, PRODUCT_SIZE = (1, 8), 2048
TARGETS = {1: 0.95, 8: 0.75}
BFLOAT16_TARGET = 0.6
LOGIT_SPREAD = 2.5  # of the class logits: about as many boxes above the threshold as in life


def images(batch_size):
    """Smooth generated images, uint8 [B, 480, 640, 3]."""
    generator = np.random.default_rng(3)
    small = generator.integers(0, 256, (batch_size, HEIGHT // 16, WIDTH // 16, 3), "uint8")
    return small.repeat(16, axis=1).repeat(16, axis=2)


class Torchvision:
    """`ssd300_vgg16` in eval mode, and the writer of the weights that both sides have."""

    def __init__(self, weights, batch_size):
        import torch

        torch.manual_seed(0)
        self.torch, torchvision = torch, import_torchvision()
        self.stand_in_seconds = 0.0
        self.has_stand_in = hasattr(torchvision, "declared_operators")
        if self.has_stand_in:
            torchvision.declared_operators.impl("nms", self.suppress, "CPU")
            torchvision.extension._has_ops = lambda: True
        builder = torchvision.models.detection.ssd300_vgg16
        self.model = builder(
            weights=None, weights_backbone=None, num_classes=1 + NUM_CLASSES
        ).eval()
        self.images = list(torch.tensor(images(batch_size).transpose(0, 3, 1, 2) / 255).float())
        if not os.path.exists(weights):
            self.spread_logits()
            torch.save(self.model.state_dict(), weights)
        self.model.load_state_dict(torch.load(weights))

    def spread_logits(self):
        """Scales each class head until its logits have the spread."""
        torch = self.torch
        with torch.no_grad():
            images, _ = self.model.transform([self.images[0]])
            features = list(self.model.backbone(images.tensors).values())
            for head, feature in zip(
                self.model.head.classification_head.module_list, features, strict=True
            ):
                head.weight *= LOGIT_SPREAD / head(feature).std()

    def suppress(self, boxes, scores, iou_threshold):
        """Stands in for the compiled operator; its own time is known."""
        start = time.perf_counter()
        order = scores.argsort(descending=True, stable=True)
        kept = plain_suppression(boxes[order].numpy(), float(iou_threshold))
        result = order[self.torch.tensor(kept)]
        self.stand_in_seconds += time.perf_counter() - start
        return result

    def detect(self):
        self.stand_in_seconds = 0.0
        with self.torch.inference_mode():
            result, found = timed(lambda: self.model(self.images))
        result["seconds"] -= self.stand_in_seconds
        counts = [len(one["scores"]) for one in found]
        return result | {"stand_in_seconds": self.stand_in_seconds, "counts": counts}

    def describe(self):
        return {"has_stand_in": self.has_stand_in}


def plain_suppression(boxes, iou_threshold):
    """Indices that are kept of boxes [n, 4] by falling score."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    is_near = shared > iou_threshold * (areas[:, None] + areas - shared)
    is_kept = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if is_kept[index]:
            is_kept[index + 1 :] &= ~is_near[index, index + 1 :]
    return np.flatnonzero(is_kept)


class SsdKeras:
    """A SavedModel of the same weights, signature image_tensor, and a matrix product."""

    def __init__(self, weights, batch_size, precision="float32"):
        import tensorflow as tf

        from ssd_keras.core.class_names import VOC_CLASSES
        from ssd_keras.exporters.saved_model import write_saved_model
        from ssd_keras.importers.torchvision import import_torchvision

        folder = os.path.join(os.path.dirname(weights), precision)
        if not os.path.exists(folder):
            model = import_torchvision(weights, VOC_CLASSES)
            write_saved_model(model, folder, precision=precision)
        self.loaded = tf.saved_model.load(folder)
        self.function = self.loaded.signatures["image_tensor"]
        self.images = tf.constant(images(batch_size))
        factors = tf.random.uniform([2, PRODUCT_SIZE, PRODUCT_SIZE])
        self.multiply = tf.function(lambda: tf.matmul(factors[0], factors[1]))

    def detect(self):
        result, found = timed(
            lambda: {k: v.numpy() for k, v in self.function(images=self.images).items()}
        )
        return result | {"counts": found["num_detections"].tolist()}

    def product(self):
        self.multiply()
        return timed(lambda: [self.multiply().numpy() for _ in range(4)])[0]


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    result = {"rows": [], "seconds": {}, "others_share": {}, "detections": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "weights.pth")
        for batch_size in BATCHES[:1] if tiny else BATCHES:
            rounds = 1 if tiny else 8 // batch_size + 3
            seconds, others, answers = measure(weights, batch_size, rounds)
            result["seconds"][str(batch_size)] = seconds
            result["others_share"][str(batch_size)] = others
            result["detections"][str(batch_size)] = answers
            result["rows"] += rows(seconds, batch_size)
    return result


def measure(weights, batch_size, rounds):
    """Seconds of all sides, the share of others, and how many detections each side found."""
    options = {"weights": weights, "batch_size": batch_size}
    with Side("inference", "torchvision", **options) as theirs:
        answers = theirs.ask("describe")
        with (
            Side("inference", "ssd_keras", **options) as ours,
            Side("inference", "ssd_keras", precision="bfloat16", **options) as bfloat16,
        ):
            asks = {
                "ssd_keras": lambda: ours.ask("detect"),
                "bfloat16": lambda: bfloat16.ask("detect"),
                "torchvision": lambda: theirs.ask("detect"),
                "product": lambda: ours.ask("product"),
            }
            seconds, others = take_turns(asks, rounds)
            last = theirs.ask("detect")
            answers |= {"torchvision": last["counts"], "ssd_keras": ours.ask("detect")["counts"]}
            answers["bfloat16"] = bfloat16.ask("detect")["counts"]
            answers["stand_in_seconds"] = last["stand_in_seconds"]
    return seconds, others, answers


def rows(seconds, batch_size):
    what = f"inference SSD300-VGG16 with suppression, SavedModel, batch {batch_size}: "
    ours = seconds["ssd_keras"]
    least = FORWARD_GFLOP * 1e9 * batch_size / (4 * 2 * PRODUCT_SIZE**3)
    share = ratios(np.array(seconds["product"]) * least, ours)
    return [
        row(
            what + "time",
            "torchvision in eval mode",
            ratios(ours, seconds["torchvision"]),
            "at most",
            TARGETS[batch_size],
        ),
        row(
            what + "rate",
            "the machine's matrix product",
            share,
            *(("at least", 0.95) if batch_size == 8 else ("report",)),
        ),
        row(
            what.replace("SavedModel", "bfloat16 SavedModel") + "time",
            "its float32",
            ratios(seconds["bfloat16"], ours),
            "at most",
            BFLOAT16_TARGET,
        ),
    ]
