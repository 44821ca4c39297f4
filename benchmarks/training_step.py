"""A training step of SSD300-VGG16 and of SSDLite320-MobileNetV3 against torchvision's.

A step is forward, loss, backward and SGD with momentum, of all layers, on all cores. torchvision
matches default boxes in its loss; ssd_keras does so in its input pipeline, before the timed step.
"""

import statistics
from functools import partial

import peers
from pairs import Side, ratios, row, spread, take_turns, timed
from peers import SSD300, SSDLITE

from ssd_keras.core.hardware import num_cores

MODELS = {SSD300: ("ssd300_vgg16_voc", 300), SSDLITE: ("ssdlite320_mobilenet_v3_large_coco", 320)}
NUM_OBJECTS, PRODUCT_SIZE = 5, 2048
STEP_GFLOP = 3 * peers.FORWARD_GFLOP  # forward, gradients of the maps, gradients of the weights
SHARES_OF_PEAK = {"float32": 0.95, "bfloat16": 0.8}  # of TensorFlow's own matrix product


class Torchvision:
    """torchvision's model in training mode; bfloat16 by autocast."""

    def __init__(self, model, precision, batch_size):
        import torch

        torch.set_num_threads(num_cores())
        self.torch, self.dtype = torch, getattr(torch, precision)
        self.model = peers.torchvision_model(model).train()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        size = MODELS[model][1]
        images = peers.generated_squares(batch_size, size, size).transpose(0, 3, 1, 2)
        self.images = list(torch.tensor(images / 255).float())
        boxes, labels = map(torch.tensor, peers.generated_boxes(batch_size, NUM_OBJECTS))
        truth = zip(boxes[..., [1, 0, 3, 2]] * size, labels.long() + 1, strict=True)
        self.targets = [{"boxes": boxes, "labels": labels} for boxes, labels in truth]

    def step(self):
        return timed(self.train)[0]

    def train(self):
        is_half = self.dtype == self.torch.bfloat16
        with self.torch.autocast("cpu", self.torch.bfloat16, is_half):
            losses = self.model(self.images, self.targets)
            loss = losses["bbox_regression"] + losses["classification"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def gflops(self):
        factors = self.torch.rand(2, PRODUCT_SIZE, PRODUCT_SIZE).to(self.dtype)
        return best_gflops(lambda: self.torch.matmul(*factors))


class SsdKeras:
    """Our model on TensorFlow; bfloat16 by the policy mixed_bfloat16."""

    def __init__(self, model, precision, batch_size):
        import keras

        from ssd_keras.core.class_names import VOC_CLASSES
        from ssd_keras.presets import from_preset

        if precision == "bfloat16":
            keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        keras.utils.set_random_seed(0)
        self.model = from_preset(MODELS[model][0], VOC_CLASSES)
        self.model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))
        self.batch = peers.training_batch(self.model, batch_size, NUM_OBJECTS)
        self.multiply = peers.tensorflow_product(PRODUCT_SIZE, precision)

    def step(self):
        return timed(lambda: self.model.train_on_batch(*self.batch))[0]

    def gflops(self):
        return best_gflops(self.multiply)


def best_gflops(multiply):
    return 2e-9 * PRODUCT_SIZE**3 / min(timed(multiply)[0]["seconds"] for _ in range(12))


SIDES = {"torchvision": Torchvision, "ssd_keras": SsdKeras}


def benchmark(tiny):
    result = {"rows": [], "precisions": {}, "others_share": {}}
    batch_size, rounds = (1, 1) if tiny else (8, 5)
    for precision, share in SHARES_OF_PEAK.items():
        measured = result["precisions"][precision] = measure(SSD300, precision, batch_size, rounds)
        result["others_share"][precision] = measured["others_share"]
        what = f"training step SSD300-VGG16, batch {batch_size}, {precision}: "
        least = STEP_GFLOP * batch_size / measured["matmul_gflops"]["ssd_keras"]
        rate = spread([least / seconds for seconds in measured["seconds"]["ssd_keras"]])
        rate = row(what + "rate", "TensorFlow's matrix product", rate, at_least=share)
        result["rows"] += [time_row(what, measured["seconds"], at_most=0.75), rate]
    # Batch normalisation of a map of one cell needs two images.
    batch_size, rounds = (2, 1) if tiny else (16, 10)
    measured = result[SSDLITE] = measure(SSDLITE, "float32", batch_size, rounds)
    result["others_share"][SSDLITE] = measured["others_share"]
    what = f"training step SSDLite320-MobileNetV3, batch {batch_size}, float32: "
    result["rows"].append(time_row(what, measured["seconds"], at_most=0.7))
    return result


def time_row(what, seconds, at_most):
    ratio = ratios(seconds["ssd_keras"], seconds["torchvision"])
    return row(what + "time", "torchvision", ratio, at_most=at_most)


def measure(model, precision, batch_size, rounds):
    """Rates of matrix products and seconds a step, by side."""
    side = partial(Side, "training_step", model=model, precision=precision, batch_size=batch_size)
    with side("torchvision") as theirs, side("ssd_keras") as ours:
        gflops = {"torchvision": theirs.gflops(), "ssd_keras": ours.gflops()}
        asks = {"torchvision": theirs.step, "ssd_keras": ours.step}
        seconds, others = take_turns(asks, rounds, warm_up=2)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {"matmul_gflops": gflops, "seconds": seconds, "median_seconds": medians}
    return result | {"others_share": others}
