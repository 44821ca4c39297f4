"""To a thousand GPUs on paper: where a training of each preset stops gaining, by formulas.

    python benchmarks/on_paper.py            # the table of scale.md
    python benchmarks/on_paper.py --recount  # builds every preset and counts weights and work

scale.md has the formulas in words. Nothing of this was run on GPUs.
"""

import argparse
import dataclasses
import math

GIGA = 1e9
# Measured on two cores of a Xeon: see the files named in scale.md.
IMAGES_A_CORE = 301.0  # decoded, augmented and encoded a second, 640 x 480, 150 KB each
IMAGE_BYTES = 150e3
COCO_METRICS_SECONDS = 12.3  # of 5,000 images' detections, one core

# Assumptions.
GPU_FLOPS = 989e12  # bfloat16, dense, of an H100, as its maker says
SHARE_OF_PEAK = 0.4  # the target of this project on GPUs, not measured
GPUS_A_HOST, CORES_A_HOST = 8, 96
NETWORKS = {"400 Gbit/s a GPU": 50e9, "25 Gbit/s a host": 25e9 / 8 / GPUS_A_HOST}  # bytes/s a GPU
LATENCY = 10e-6  # seconds of one step of the ring
BATCH_A_GPU = 32
TRAINING_IMAGES, VALIDATION_IMAGES = 118_287, 5_000  # COCO 2017


@dataclasses.dataclass(frozen=True)
class Preset:
    """Weights that learn, and operations of a forward pass of one image, two a multiply-add."""

    weights: int
    forward: float


PRESETS = {
    "ssd300_vgg16_voc": Preset(26285486, 62.747 * GIGA),
    "ssd300_vgg16_coco": Preset(34305206, 68.721 * GIGA),
    "ssd512_vgg16_voc": Preset(27188676, 180.416 * GIGA),
    "ssd512_vgg16_coco": Preset(36038196, 197.258 * GIGA),
    "ssd300_resnet18_coco": Preset(14048310, 15.563 * GIGA),
    "ssd300_resnet50_coco": Preset(22910198, 40.028 * GIGA),
    "ssdlite320_mobilenet_v2_coco": Preset(4484148, 1.695 * GIGA),
    "ssdlite320_mobilenet_v3_large_coco": Preset(3301460, 1.126 * GIGA),
    "ssd192_small_shapes": Preset(999096, 0.421 * GIGA),
}


def image_seconds(preset):
    """A GPU's time for one image of a step: forward, and twice that backward."""
    return 3 * preset.forward / (GPU_FLOPS * SHARE_OF_PEAK)


def reduce_seconds(preset, gpus, bandwidth):
    """Sum of all gradients, float32, over a ring: each GPU sends and receives 2 (n - 1) / n of
    them, in 2 (n - 1) turns."""
    turns = 2 * (gpus - 1)
    return turns / gpus * 4 * preset.weights / bandwidth + turns * LATENCY


def efficiency(preset, gpus, bandwidth, batch=BATCH_A_GPU):
    """Share of a step that is not spent waiting for the sum, if nothing of it is hidden."""
    compute = batch * image_seconds(preset)
    return compute / (compute + reduce_seconds(preset, gpus, bandwidth))


def cores_a_gpu(preset):
    """Cores that keep one GPU in images."""
    return 1 / image_seconds(preset) / IMAGES_A_CORE


def evaluation_share(preset, gpus):
    """Share of the time in which all wait for process 0, which validates after each epoch.

    It reads with the cores of its host, and computes on one GPU, one after the other.
    """
    epoch = TRAINING_IMAGES * image_seconds(preset) / gpus
    reading = VALIDATION_IMAGES / (IMAGES_A_CORE * CORES_A_HOST)
    evaluation = reading + VALIDATION_IMAGES * image_seconds(preset) / 3 + COCO_METRICS_SECONDS
    return evaluation / (epoch + evaluation)


def table():
    """The presets as Markdown."""
    fast, slow = NETWORKS.values()
    head = (
        "preset", "weights, millions", "gradients, MB", "GFLOP forward", "images/s a GPU",
        "cores a GPU", "waiting for the sum, 1024 GPUs: " + ", ".join(NETWORKS),
        "validating each epoch: 1, 8, 64 GPUs",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, preset in PRESETS.items():
        waiting = [1 - efficiency(preset, 1024, each) for each in (fast, slow)]
        cells = (
            f"`{name}`",
            f"{preset.weights / 1e6:.1f}",
            f"{4 * preset.weights / 1e6:.0f}",
            f"{preset.forward / GIGA:.1f}",
            f"{1 / image_seconds(preset):,.0f}",
            f"{cores_a_gpu(preset):.0f}",
            ", ".join(f"{share:.0%}" for share in waiting),
            ", ".join(f"{evaluation_share(preset, gpus):.0%}" for gpus in (1, 8, 64)),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def count(model):
    """A `Preset` from a model's layers; the work is that of its convolutions."""
    import keras

    operations = 0.0
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            _, height, width, channels = layer.output.shape
            *window, inputs, _ = layer.kernel.shape
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                inputs = 1
            operations += 2 * math.prod(window) * inputs * height * width * channels
    weights = sum(math.prod(v.shape) for v in model.trainable_variables)
    return Preset(weights, operations)


def recount():
    """Lines for PRESETS."""
    from ssd_keras import presets

    for name, preset in presets.PRESETS.items():
        if preset.weights is None:
            counted = count(presets.from_preset(name))
            print(f'    "{name}": Preset({counted.weights}, {counted.forward / GIGA:.3f} * GIGA),')


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--recount", action="store_true", help="count weights and work anew")
    recount() if parser.parse_args().recount else print(table())
