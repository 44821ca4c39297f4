"""Trains a recipe for a number of CPU seconds, and records its AP with the processor's name.

    python benchmarks/accuracy.py own_data voc:DATA/raccoon --cpu-seconds 1200 --output runs/a \
        --set model.backbone_weights=FILE

RUN.json beside the run folder holds command, hardware, seconds and metrics of the best model of
@val. The CPU seconds are those of the process with all its threads, so that other programs change
them little; 1200 are ten minutes of two idle cores. A run that was killed is resumed by the same
command.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

CORES = 2


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe", help="name or file")
    parser.add_argument("data", help="data set with the parts train and val, without @")
    parser.add_argument("--cpu-seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="run folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(words)
    command = shlex.join(["python", "benchmarks/accuracy.py", *(words or sys.argv[1:])])

    from suite import record_of

    from ssd_keras.core.hardware import hardware
    from ssd_keras.data.sources import load_data
    from ssd_keras.engine import training_time
    from ssd_keras.engine.evaluate import evaluate
    from ssd_keras.engine.recipes import load_recipe, override
    from ssd_keras.engine.train import train

    minutes = options.cpu_seconds / CORES / 60
    length = ["epochs=0", "steps=0", f"minutes={minutes}"]
    changes = [*options.set, *(f"schedule.{each}" for each in length), f"run.seed={options.seed}"]
    recipe = override(load_recipe(options.recipe), changes)
    parts = [load_data(f"{options.data}@{part}") for part in ("train", "val")]
    training_time.clock = lambda: time.process_time() / CORES
    began = time.monotonic()
    used = time.process_time()
    is_started = (options.output / "recipe.toml").exists()
    history = train(recipe, *parts, str(options.output), resume=is_started, progress=None)
    used = time.process_time() - used
    metrics = evaluate(str(options.output), parts[1], progress=False)
    wall = time.monotonic() - began
    best = max(history, key=lambda row: row.get("val_AP", -1.0))
    record = record_of(command, hardware()) | {
        "data": options.data.rsplit("/", 1)[-1],
        "seed": options.seed,
        "cpu_seconds": None if is_started else used,
        "wall_seconds": wall,
        "epochs": len(history),
        "best_epoch": best["epoch"],
        "coco": metrics["coco"],
        "voc12_mAP": metrics["voc12"]["mAP"],
        "history": [row for row in history if "val_AP" in row],
    }
    options.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: round(record["coco"][name], 4) for name in ("AP", "AP50", "AP75")}))


if __name__ == "__main__":
    main()
