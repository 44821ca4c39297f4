"""Where the time of a training step goes: a bar for each stage, as an image.

    python benchmarks/training_stages.py benchmarks/results/training_stages.png

A stage's time is that of a graph that ends behind it less that of one that ends before it, all in
one process on all cores, in turns; the last graph is the whole step of `train_on_batch`. Core
seconds, which other work on the machine disturbs less than the clock.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import peers
import stage_bars
from pairs import Side, hardware, take_turns, timed
from suite import rounded
from training_step import SSD300, SSDLITE, STEP_GFLOP

STAGES = ("backbone", "extra layers and heads", "loss and mining", "backward", "optimizer")
CASES = (
    ("SSD300-VGG16, float32", SSD300, "float32", 8),
    ("SSD300-VGG16, bfloat16", SSD300, "bfloat16", 8),
    ("SSDLite320-MobileNetV3, float32", SSDLITE, "float32", 16),
    ("SSDLite320-MobileNetV3, bfloat16", SSDLITE, "bfloat16", 16),
)


class SsdKeras(peers.SsdKeras):
    """Graphs of the step that end behind each of `STAGES`."""

    def __init__(self, precision, batch_size, model):
        super().__init__(precision, batch_size, model)
        tf, model = self.tf, self.model
        images = tf.constant(self.images)
        targets = {name: tf.constant(value) for name, value in self.targets.items()}

        def backbone():
            maps = model.backbone(model.get_layer("preprocessor")(images), training=True)
            return [tf.reduce_sum(one) for one in tf.nest.flatten(maps)]

        def loss():
            outputs = model(images, training=True)
            return model.compute_loss(images, targets, outputs)

        def gradients():
            with tf.GradientTape() as tape:
                value = loss()
            return tape.gradient(value, model.trainable_variables)

        graphs = (backbone, lambda: model(images, training=True), loss, gradients)
        self.graphs = [tf.function(graph) for graph in graphs] + [self.step]

    def until(self, stage):
        return timed(self.graphs[stage])[0]

    def product_core_seconds(self, size=2048):
        product = self.product(size)
        seconds = [timed(product)[0]["core_seconds"] for _ in range(12)]
        return {"core_seconds_a_gflop": np.median(seconds[2:]) / (2e-9 * size**3)}


SIDES = {"ssd_keras": SsdKeras}


def measured(model, precision, batch_size, rounds):
    """Core seconds of each stage, and of the step's arithmetic at the rate of matrix products."""
    options = {"model": model, "precision": precision, "batch_size": batch_size}
    with Side("training_stages", "ssd_keras", **options) as side:
        asks = {
            name: lambda stage=stage: side.ask("until", stage=stage)
            for stage, name in enumerate(STAGES)
        }
        seconds, others = take_turns(asks, rounds, warm_up=2, clock="core_seconds")
        product = side.ask("product_core_seconds")
    until = [np.median(seconds[name]) for name in STAGES]
    least = STEP_GFLOP * batch_size * product["core_seconds_a_gflop"] if model == SSD300 else None
    return {
        "batch_size": batch_size,
        "core_seconds": dict(zip(STAGES, np.diff(until, prepend=0.0).tolist(), strict=True)),
        "arithmetic_core_seconds": least,
        "others_share": others,
        "load_average": os.getloadavg()[0],
    }


def draw(cases, path):
    """Stages as shares of the step; a mark for the arithmetic alone."""
    totals, bars = {}, {}
    for name, case in cases.items():
        # A stage of no time comes out below 0 as often as above.
        seconds = [max(case["core_seconds"][stage], 0.0) for stage in STAGES]
        total, least = sum(seconds), case["arithmetic_core_seconds"]
        shares = [100 * one / total for one in seconds]
        name = f"{name}\nbatch {case['batch_size']}: {total:.2f} core seconds"
        totals[name] = total
        bars[name] = shares, [100 * least / total if least else None]
    stage_bars.draw(
        path,
        bars,
        STAGES,
        "share of a training step's core seconds, %",
        lambda name, share: f"{share * totals[name] / 100:.2f}",
        {"the same arithmetic as matrix products": "k"},
    )


def main(path, rounds=5):
    path = Path(path)
    cases = {name: measured(*case, rounds) for name, *case in CASES}
    text = json.dumps(rounded({"hardware": hardware(), "cases": cases}), indent=1)
    path.with_suffix(".json").write_text(text + "\n")
    draw(cases, path)


if __name__ == "__main__":
    main(sys.argv[1])
