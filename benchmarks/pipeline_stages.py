"""Where the time of the input pipeline goes: a bar for each stage, as an image.

    python benchmarks/pipeline_stages.py benchmarks/results/pipeline_stages.png

A stage's time is that of the pipeline less that of one in which it and all stages before it in the
list are replaced by something trivial; on one core, core seconds, in turns.
"""

import json
import sys
from pathlib import Path

import numpy as np
import stage_bars
from images import DETAIL
from input_pipeline import SsdKeras as Pipeline
from pairs import Side, take_turns

STAGES = ("targets", "colours", "resizing", "decoding", "crop", "all else")
BATCH_SIZE, BATCHES = 16, 8


class SsdKeras(Pipeline):
    """The pipeline whose first so many stages of `STAGES` are trivial."""

    def __init__(self, detail, without):
        import tensorflow as tf

        from ssd_keras.assigners import max_iou as matching
        from ssd_keras.data.augmentation import geometry as augmentation
        from ssd_keras.data.augmentation import rendering

        def no_targets(default_boxes):
            count = len(default_boxes)
            return lambda boxes, labels: {
                "box_deltas": tf.zeros([BATCH_SIZE, count, 5]) + tf.reduce_sum(boxes),
                "class_logits": tf.zeros([BATCH_SIZE, count], tf.int32) + tf.size(labels),
            }

        def no_decoding(data, orientation, size, region, ratio):
            return tf.zeros([1, 1, 3], tf.uint8) + tf.cast(region[0], tf.uint8)

        def no_resizing(pixels, size, *_):
            return tf.zeros([size[0], size[1], 3]) + tf.cast(pixels[0, 0, 0], tf.float32)

        trivial = (
            (matching, "TargetEncoder", no_targets),
            (augmentation, "distort_colors", lambda image, *_: image),
            (rendering, "_resize", no_resizing),
            (rendering, "decode_region", no_decoding),
            (augmentation, "choose_crop", lambda *_: tf.constant([0.1, 0.1, 0.9, 0.9])),
        )
        for module, name, function in trivial[:without]:
            setattr(module, name, function)
        super().__init__(detail, BATCH_SIZE)


SIDES = {"ssd_keras": SsdKeras}


def stages(detail, rounds):
    """Milliseconds an image of each stage, and of decoding the whole JPEG."""
    sides = [
        Side("pipeline_stages", "ssd_keras", cores=1, detail=detail, without=number)
        for number in range(len(STAGES))
    ]
    asks = {number: lambda side=side: side.ask("train", batches=BATCHES)
            for number, side in enumerate(sides)}  # fmt: skip
    asks["decoding"] = lambda: sides[0].ask("decode", batches=BATCHES)
    seconds, _ = take_turns(asks, rounds, clock="core_seconds")
    for side in sides:
        side.__exit__()
    medians = {name: np.median(values) for name, values in seconds.items()}
    scale = 1e3 / (BATCHES * BATCH_SIZE)
    left = [medians[number] * scale for number in range(len(STAGES))] + [0.0]
    found = {name: left[number] - left[number + 1] for number, name in enumerate(STAGES)}
    return found, medians["decoding"] * scale


def draw(measured, path):
    """A row for each run and kind of image; marks for decoding."""
    bars = {
        name: ([milliseconds[stage] for stage in STAGES], [decoding, 3 * decoding])
        for name, (milliseconds, decoding) in measured.items()
    }
    stage_bars.draw(
        path,
        bars,
        STAGES,
        "milliseconds of one core an image, 640 x 480, 20 boxes, SSD300",
        lambda _, width: f"{width:.1f}",
        {"decoding the whole JPEG alone": "k", "three times that": "k:"},
        columns=4,
    )


def main(path, rounds=8):
    path = Path(path)
    table = path.with_suffix(".json")
    measured = json.loads(table.read_text()) if table.exists() else {}
    for detail in DETAIL:
        measured[f"now, {detail}"] = stages(detail, rounds)
    table.write_text(json.dumps(measured, indent=1) + "\n")
    draw(measured, path)


if __name__ == "__main__":
    main(sys.argv[1])
