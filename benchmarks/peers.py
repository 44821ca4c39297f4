"""The two sides of training_step.py, each in a process of its own.

A process is started with the name of a side, a precision, a batch size and one of `MODELS`. It
answers one line of JSON on standard output (after "@", so that a library's chatter does no harm) to
each line of JSON on standard input: {"do": "step" | "matmul" | "encode" | "describe" | "curve"}.
"""

import json
import os
import sys
import time

import numpy as np
from pairs import import_torchvision, machine_seconds, num_cores

NUM_CLASSES = 20
# By torchvision's name: our preset, and height and width of the images.
MODELS = {
    "ssd300_vgg16": ("ssd300_vgg16_voc", 300),
    "ssdlite320_mobilenet_v3_large": ("ssdlite320_mobilenet_v3_large_coco", 320),
}
COLOURS = np.random.default_rng(7).integers(0, 256, (NUM_CLASSES, 3))


def synthetic_batch(seed, batch_size, size):
    """Images [B, size, size, 3] of filled rectangles on noise, and their boxes and labels.

    Boxes are relative yxyx, 2 to 8 an image; labels are 0-based, and each has its colour.
    """
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (batch_size, size, size, 3)).astype(np.float32)
    truth = []
    for image in images:
        count = generator.integers(2, 9)
        sizes = generator.uniform(0.1, 0.6, (count, 2))
        corners = generator.uniform(0, 1 - sizes)
        boxes = np.concatenate((corners, corners + sizes), axis=1).astype(np.float32)
        labels = generator.integers(0, NUM_CLASSES, count).astype(np.int32)
        for box, label in zip(boxes, labels, strict=True):
            ymin, xmin, ymax, xmax = (box * size).astype(int)
            image[ymin:ymax, xmin:xmax] = COLOURS[label]
        truth.append((boxes, labels))
    return images, truth


class Torchvision:
    """torchvision's model in training mode; bfloat16 by autocast."""

    def __init__(self, precision, batch_size, model):
        import torch

        torch.set_num_threads(num_cores())
        torch.manual_seed(0)
        self.torch, self.torchvision = torch, import_torchvision()
        self.is_half = precision == "bfloat16"
        builder = getattr(self.torchvision.models.detection, model)
        self.model = builder(
            weights=None, weights_backbone=None, num_classes=1 + NUM_CLASSES
        ).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        size = MODELS[model][1]
        images, truth = synthetic_batch(0, batch_size, size)
        self.images = list(torch.tensor(images.transpose(0, 3, 1, 2) / 255))
        self.targets = [
            {
                "boxes": torch.tensor(boxes[:, [1, 0, 3, 2]] * size),
                "labels": torch.tensor(labels.astype(np.int64) + 1),
            }
            for boxes, labels in truth
        ]

    def step(self):
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.is_half):
            losses = self.model(self.images, self.targets)
            loss = losses["bbox_regression"] + losses["classification"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def product(self, size):
        dtype = self.torch.bfloat16 if self.is_half else self.torch.float32
        a, b = self.torch.rand(2, size, size).to(dtype)
        return lambda: self.torch.matmul(a, b)

    def describe(self):
        return {
            "versions": {
                "torch": self.torch.__version__,
                "torchvision": self.torchvision.__version__,
            },
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "threads": self.torch.get_num_threads(),
        }


class SsdKeras:
    """This project's model on TensorFlow; bfloat16 by Keras policy."""

    def __init__(self, precision, batch_size, model):
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(num_cores())
        self.keras, self.tf, self.batch_size = keras, tf, batch_size
        self.is_half = precision == "bfloat16"
        if self.is_half:
            keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        keras.utils.set_random_seed(0)

        from ssd_keras.core.class_names import VOC_CLASSES
        from ssd_keras.presets import from_preset

        preset, self.size = MODELS[model]
        self.model = from_preset(preset, VOC_CLASSES)
        self.model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))
        self.encoder = tf.function(self.model.target_encoder(), reduce_retracing=True)
        self.images, self.truth = synthetic_batch(0, batch_size, self.size)
        self.targets = self.encode()

    def encode(self, truth=None):
        """Targets of a batch, image by image as the input pipeline makes them."""
        encoded = [self.encoder(boxes, labels) for boxes, labels in truth or self.truth]
        return {name: np.stack([one[name] for one in encoded]) for name in encoded[0]}

    def step(self):
        return float(np.ravel(self.model.train_on_batch(self.images, self.targets))[0])

    def curve(self, steps):
        """Losses of `steps` steps from the seed's weights, a new batch each."""
        self.keras.utils.set_random_seed(0)
        losses = []
        for step in range(steps):
            self.images, truth = synthetic_batch(1000 + step, self.batch_size, self.size)
            self.targets = self.encode(truth)
            # Metrics of train_on_batch run on over the batches: start them anew.
            self.model.reset_metrics()
            losses.append(self.step())
            print(f"step {step + 1} of {steps}: loss {losses[-1]:.4f}", file=sys.stderr)
        return losses

    def product(self, size):
        dtype = self.tf.bfloat16 if self.is_half else self.tf.float32
        a, b = (self.tf.cast(self.tf.random.uniform((size, size)), dtype) for _ in range(2))
        multiply = self.tf.function(self.tf.matmul)
        return lambda: multiply(a, b).numpy()

    def describe(self):
        return {
            "versions": {"tensorflow": self.tf.__version__, "keras": self.keras.__version__},
            "parameters": sum(int(np.prod(v.shape)) for v in self.model.trainable_variables),
            "threads": num_cores(),
        }


SIDES = {"torchvision": Torchvision, "ssd_keras": SsdKeras}


def timed(function):
    """Seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def timed_step(side):
    """Seconds of a step, its loss, and the share of the cores that others used meanwhile."""
    machine, own = machine_seconds(), time.process_time()
    seconds, loss = timed(side.step)
    result = {"seconds": seconds, "loss": loss}
    if machine is not None:
        others = machine_seconds() - machine - (time.process_time() - own)
        result["others_share"] = max(0.0, others / seconds / num_cores())
    return result


def matmul_gflops(side, size=2048, repeats=12):
    """Best rate of a matrix product, in GFLOP/s; the first two runs are warm-up."""
    product = side.product(size)
    seconds = [timed(product)[0] for _ in range(repeats)]
    return 2 * size**3 / min(seconds[2:]) / 1e9


def answer(side, request):
    """What the side says to one request."""
    do = request["do"]
    if do == "step":
        return timed_step(side)
    if do == "encode":
        return {"seconds": timed(side.encode)[0]}
    if do == "matmul":
        return {"gflops": matmul_gflops(side)}
    if do == "curve":
        return {"losses": side.curve(request["steps"])}
    return side.describe()


def main():
    name, precision, batch_size, model = sys.argv[1:]
    side = SIDES[name](precision, int(batch_size), model)
    for line in sys.stdin:
        print("@" + json.dumps(answer(side, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
