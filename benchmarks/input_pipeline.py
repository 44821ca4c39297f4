"""The training input pipeline of SSD300: JPEG bytes to augmented batches with targets.

The peer is the SSD preset of torchvision's detection references (v2 transforms on tensors), which
makes no targets; the limit is decoding of the same JPEGs.
"""

import contextlib
import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import peers
from pairs import Side, ratios, row, take_turns, timed
from peers import DETAIL, HEIGHT, WIDTH, generated_boxes, generated_jpegs

NUM_BOXES, NUM_IMAGES, IMAGE_SIZE = 20, 32, (300, 300)
WORKERS = (
    1,
    2,
)  # numbers of worker processes on two cores; this process counts batches beside them
# Augmentations whose time is compared with that of the paper's.
OTHERS = {
    "scale jitter": {"scale_jitter": (0.5, 1.5), "zoom_out": False, "crop": False},
    "mosaic": {"mosaic": 1.0},
    "mixup": {"mixup": 1.0},
    "mosaic and mixup": {"mosaic": 1.0, "mixup": 1.0},
}


class SsdKeras:
    """`training_dataset` with the paper's augmentation, and its JPEG decoder alone."""

    def __init__(self, detail, batch_size, batches, workers=0):
        import tensorflow as tf

        from ssd_keras import DataWorkers, MaxIoUAssigner, TargetEncoder
        from ssd_keras.data.pipeline import make_lookup

        boxes, labels = generated_boxes(NUM_IMAGES, NUM_BOXES)
        corners, ends = np.split(boxes[..., [1, 0, 3, 2]] * ([WIDTH, HEIGHT] * 2), 2, axis=-1)
        truth = zip(np.concatenate([corners, ends - corners], axis=-1), labels, strict=True)
        self.data = peers.detection_data(generated_jpegs(NUM_IMAGES, detail), truth, num_classes=20)
        self.encoder = TargetEncoder(MaxIoUAssigner(), peers.ssd300_default_boxes())
        self.batch_size, self.batches = batch_size, batches
        self.workers = DataWorkers(workers)
        contextlib.ExitStack().enter_context(self.workers)  # they end with this process
        self.training = self.dataset()
        lookup = make_lookup(self.data)

        def decode(position):
            encoded = lookup(position % NUM_IMAGES)["image"]
            return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

        decoded = tf.data.Dataset.range(1 << 40).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        self.decoding = decoded.batch(batch_size)
        self.others = {}

    def dataset(self, **augmentation):
        from ssd_keras import Augmentation
        from ssd_keras.data.pipeline import training_dataset

        return training_dataset(
            self.data,
            self.encoder,
            IMAGE_SIZE,
            self.batch_size,
            augmentation=Augmentation(**augmentation),
            workers=self.workers,
        )

    def train(self):
        return self.consume(self.training)

    def train_with(self, name):
        """The same with other augmentations."""
        if name not in self.others:
            self.others[name] = self.dataset(**OTHERS[name])
        return self.consume(self.others[name])

    def decode(self):
        return self.consume(self.decoding)

    def consume(self, dataset):
        """Time an image of a running pipeline, whose buffers are empty at both ends."""
        iterator = iter(dataset)
        next(iterator)
        before = self.workers_seconds()
        result, _ = timed(lambda: [next(iterator) for _ in range(self.batches)])
        result["core_seconds"] += self.workers_seconds() - before
        return result | {"calls": self.batches * self.batch_size}

    def workers_seconds(self):
        """CPU seconds of the worker processes."""
        return sum(map(core_seconds, self.workers.process_ids))


def core_seconds(process_id):
    """CPU seconds of a process since its start."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


class Torchvision:
    """Decoding by Pillow and the reference preset, one image after the other."""

    def __init__(self, detail, batch_size, batches):
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        peers.import_torchvision()
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        fill = {tv_tensors.Image: (123.0, 117.0, 104.0), "others": 0}
        self.transforms = v2.Compose([
            v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=fill), v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(p=0.5), v2.ToDtype(torch.float, scale=True),
            v2.ConvertBoundingBoxFormat(tv_tensors.BoundingBoxFormat.XYXY),
            v2.SanitizeBoundingBoxes(), v2.ToPureTensor(),
        ])  # fmt: skip
        # In the reference script this is the model's first step.
        self.resize = v2.Resize(IMAGE_SIZE, antialias=False)
        self.torch, self.batch_size = torch, batch_size
        self.count = batch_size * max(1, batches // 16)  # ours is about sixteen times as fast
        self.as_image, self.image_type = v2.functional.pil_to_tensor, tv_tensors.Image
        self.encoded = generated_jpegs(NUM_IMAGES, detail)
        boxes, labels = map(torch.tensor, generated_boxes(NUM_IMAGES, NUM_BOXES))
        pixels = boxes[..., [1, 0, 3, 2]] * torch.tensor([WIDTH, HEIGHT] * 2)
        box_type = partial(tv_tensors.BoundingBoxes, format="XYXY", canvas_size=(HEIGHT, WIDTH))
        truth = zip(map(box_type, pixels), labels.long(), strict=True)
        self.targets = [{"boxes": boxes, "labels": labels} for boxes, labels in truth]

    def train(self):
        def batch(start):
            numbers = range(start, start + self.batch_size)
            return self.torch.stack([self.augmented(number % NUM_IMAGES) for number in numbers])

        result, _ = timed(lambda: [batch(start) for start in range(0, self.count, self.batch_size)])
        return result | {"calls": self.count}

    def augmented(self, number):
        from PIL import Image

        pixels = self.as_image(Image.open(io.BytesIO(self.encoded[number])))
        image, _ = self.transforms(self.image_type(pixels), self.targets[number])
        return self.resize(image)


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    rounds, num_images, batch_size = (2, 8, 4) if tiny else (9, 1024, 16)
    result = {"rows": [], "seconds_an_image": {}, "others_share": {}}
    for detail in DETAIL:
        seconds, others = measure(detail, rounds, num_images // batch_size, batch_size)
        result["seconds_an_image"][detail] = seconds
        result["others_share"] |= {f"{detail}, {cores}": share for cores, share in others.items()}
        ours, theirs, decoding = (seconds[key] for key in ("ssd_keras", "torchvision", "decoding"))
        peer = "torchvision v2 SSD preset without encoding"
        what = f"training pipeline, 1 core, {detail} images: "
        speed = what + "images a second"
        cores = ratios(seconds["1 core"], seconds["2 cores"])
        result["rows"] += [
            row(speed, peer, ratios(theirs, ours), at_least=8),
            row(what + "time", "decoding the JPEG alone", ratios(ours, decoding), at_most=3),
            row(speed.replace("1 core", "2 cores"), "1 core", cores, at_least=1.7),
        ]
        for name in OTHERS:
            target = {"at_most": 1.6} if name == "mosaic" else {}
            longer = ratios(seconds[name], ours)
            result["rows"].append(row(f"{what}time with {name}", "without", longer, **target))
        for number in WORKERS:
            name = f"{number} data workers, 2 cores"
            target = {"at_least": 1.6} if number == 2 else {}
            speedup = ratios(seconds["1 core"], seconds[name])
            result["rows"].append(row(speed.replace("1 core", name), "1 core", speedup, **target))
    return result


def measure(detail, rounds, batches, batch_size):
    """Seconds an image by name and round, and the share of other processes by cores."""
    options = {"detail": detail, "batch_size": batch_size, "batches": batches}
    ours, theirs = (partial(Side, "input_pipeline", name, **options) for name in SIDES)
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(ours(cores=cores)) for cores in (1, 2))
        peer = stack.enter_context(theirs(cores=1))
        asks = {"ssd_keras": one.train, "torchvision": peer.train, "decoding": one.decode}
        asks |= {name: partial(one.train_with, name=name) for name in OTHERS}
        seconds, others = take_turns(asks, rounds, clock="core_seconds")
        # The wall clock alone shows whether cores hinder each other.
        asks = {"1 core": one.train, "2 cores": two.train}
        for number in WORKERS:
            side = stack.enter_context(ours(cores=2, workers=number))
            asks[f"{number} data workers, 2 cores"] = side.train
        both, others_of_two = take_turns(asks, rounds)
    return seconds | both, {"1 core": others, "2 cores": others_of_two}
