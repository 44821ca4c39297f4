"""Training images a second: JPEG bytes to augmented batches with targets, SSD300.

The peer is the SSD preset of torchvision's detection references (v2 transforms on tensors), which
makes no targets; the limit is decoding the same JPEGs and nothing else.
"""

import io
from collections import defaultdict

import numpy as np
from images import DETAIL, HEIGHT, WIDTH, generated_boxes, generated_jpegs
from pairs import Side, import_torchvision, ratios, row, take_turns, timed

NUM_BOXES, NUM_IMAGES, IMAGE_SIZE = 20, 32, (300, 300)


def ssd300_default_boxes():
    """The 8732 default boxes of the preset, without building the model."""
    from ssd_keras.boxes.default_boxes import DefaultBoxes
    from ssd_keras.models.builders.vgg import SSD_SIZES

    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    spec = DefaultBoxes(SSD_SIZES[300, "voc"], ratios, steps=(8, 16, 32, 64, 100, 300))
    return spec.boxes(IMAGE_SIZE, [(n, n) for n in (38, 19, 10, 5, 3, 1)])


class SsdKeras:
    """`training_dataset` with the paper's augmentation, and its JPEG decoder alone."""

    def __init__(self, detail, batch_size):
        import tensorflow as tf

        from ssd_keras.assigners.max_iou import TargetEncoder
        from ssd_keras.data.pipeline import make_lookup, training_dataset
        from ssd_keras.data.records import DetectionData, Example

        sides = np.array([HEIGHT, WIDTH, HEIGHT, WIDTH])
        truth = generated_boxes(NUM_IMAGES, NUM_BOXES)
        examples = []
        for number, encoded in enumerate(generated_jpegs(NUM_IMAGES, detail)):
            top, left, bottom, right = (truth[number][0] * sides).T
            boxes = np.stack([left, top, right - left, bottom - top], axis=-1)
            no = np.zeros(NUM_BOXES, bool)
            areas = boxes[:, 2] * boxes[:, 3]
            examples.append(
                Example(number, encoded, HEIGHT, WIDTH, boxes, truth[number][1], no, no, areas)
            )
        data = DetectionData(tuple(f"class {n}" for n in range(20)), tuple(examples))
        encoder = TargetEncoder(ssd300_default_boxes())
        self.trained = training_dataset(data, encoder, IMAGE_SIZE, batch_size)
        lookup = make_lookup(data)

        def decode(position):
            encoded = lookup(position % NUM_IMAGES)["image"]
            return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

        self.decoded = tf.data.Dataset.range(1 << 40).map(
            decode, num_parallel_calls=tf.data.AUTOTUNE
        ).batch(batch_size)  # fmt: skip

    def train(self, batches):
        return consumed(self.trained, batches)

    def decode(self, batches):
        return consumed(self.decoded, batches)


def consumed(dataset, batches):
    """Time of so many batches of a running pipeline, whose buffers are empty at both ends."""
    iterator = iter(dataset)
    next(iterator)
    return timed(lambda: [next(iterator) for _ in range(batches)])[0]


class Torchvision:
    """Decoding by Pillow and the reference preset, one image after the other."""

    def __init__(self, detail, batch_size):
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch, torchvision = torch, import_torchvision()
        from torchvision import tv_tensors
        from torchvision.transforms import v2

        fill = defaultdict(lambda: (123.0, 117.0, 104.0), {tv_tensors.Mask: 0})
        self.transforms = v2.Compose(
            [
                v2.RandomPhotometricDistort(),
                v2.RandomZoomOut(fill=fill),
                v2.RandomIoUCrop(),
                v2.RandomHorizontalFlip(p=0.5),
                v2.ToDtype(torch.float, scale=True),
                v2.ConvertBoundingBoxFormat(tv_tensors.BoundingBoxFormat.XYXY),
                v2.SanitizeBoundingBoxes(),
                v2.ToPureTensor(),
            ]
        )
        # In the reference script this is the model's first step.
        self.resize = v2.Resize(IMAGE_SIZE, antialias=False)
        self.tv_tensors, self.functional = tv_tensors, torchvision.transforms.v2.functional
        self.batch_size = batch_size
        self.encoded = generated_jpegs(NUM_IMAGES, detail)
        self.targets = []
        for boxes, labels in generated_boxes(NUM_IMAGES, NUM_BOXES):
            pixels = boxes[:, [1, 0, 3, 2]] * np.float32([WIDTH, HEIGHT, WIDTH, HEIGHT])
            boxes = tv_tensors.BoundingBoxes(
                torch.tensor(pixels), format="XYXY", canvas_size=(HEIGHT, WIDTH)
            )
            self.targets.append({"boxes": boxes, "labels": torch.tensor(labels).long()})

    def train(self, batches):
        def one(number):
            input_image = self.input_image(number)
            image, target = self.transforms(input_image, self.targets[number % NUM_IMAGES])
            return self.resize(image), target

        def batch(start):
            made = [one(start + number) for number in range(self.batch_size)]
            return self.torch.stack([image for image, _ in made])

        return timed(lambda: [batch(index * self.batch_size) for index in range(batches)])[0]

    def image(self, number):
        from PIL import Image

        image = Image.open(io.BytesIO(self.encoded[number % NUM_IMAGES]))
        return self.tv_tensors.Image(self.functional.pil_to_tensor(image))


SIDES = {"ssd_keras": SsdKeras, "torchvision": Torchvision}


def benchmark(tiny):
    rounds, images, batch_size = (2, 8, 4) if tiny else (9, 1024, 16)
    result = {"rows": [], "seconds_an_image": {}, "others_share": {}}
    for detail in DETAIL:
        measured, others = measure(detail, rounds, images, batch_size)
        result["seconds_an_image"][detail] = measured
        result["others_share"] |= {f"{detail}, {cores}": share for cores, share in others.items()}
        result["rows"] += rows(measured, detail)
    return result


def measure(detail, rounds, images, batch_size):
    """Seconds an image of all sides by round."""
    options = {"detail": detail, "batch_size": batch_size}
    with (
        Side("input_pipeline", "ssd_keras", cores=1, **options) as one,
        Side("input_pipeline", "ssd_keras", cores=2, **options) as two,
        Side("input_pipeline", "torchvision", cores=1, **options) as theirs,
    ):
        batches = images // batch_size
        few = max(1, batches // 16)  # theirs takes about sixteen times as long
        counts = {"ssd_keras": batches, "torchvision": few, "decoding": batches}
        asks = {
            "ssd_keras": lambda: one.ask("train", batches=batches),
            "torchvision": lambda: theirs.ask("train", batches=few),
            "decoding": lambda: one.ask("decode", batches=batches),
        }
        seconds, others = take_turns(asks, rounds, clock="core_seconds")
        per_image = {
            name: [value / (counts[name] * batch_size) for value in values]
            for name, values in seconds.items()
        }
        # Whether cores get in each other's way shows on the clock of the wall alone.
        asks = {
            "1 core": lambda: one.ask("train", batches=batches),
            "2 cores": lambda: two.ask("train", batches=batches),
        }
        seconds, others_of_two = take_turns(asks, rounds)
    for name, values in seconds.items():
        per_image[name] = [value / (batches * batch_size) for value in values]
    return per_image, {"1 core": others, "2 cores": others_of_two}


def rows(seconds, detail):
    ours = seconds["ssd_keras"]
    what = f"training pipeline, 1 core, {detail} images: "
    return [
        row(
            what + "images a second",
            "torchvision v2 SSD preset without encoding",
            ratios(seconds["torchvision"], ours),
            "at least",
            8,
        ),
        row(
            what + "time",
            "decoding the JPEG alone",
            ratios(ours, seconds["decoding"]),
            "at most",
            3,
        ),
        row(
            f"training pipeline, 2 cores, {detail} images: images a second",
            "1 core",
            ratios(seconds["1 core"], seconds["2 cores"]),
            "at least",
            1.7,
        ),
    ]
