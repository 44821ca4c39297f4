"""Trains a recipe for a number of CPU seconds, and records its AP with the processor's name.

    python benchmarks/accuracy.py own_data voc:DATA/raccoon --cpu-seconds 1200 --output RUN \\
        --set model.backbone_weights=FILE

RUN.json holds command, hardware, seconds, and the metrics of the best model on DATA@val. The CPU
seconds are those of the process with all its threads; 1200 are ten minutes of two idle cores. Other
programs on the same cores make each step take more of them. The same command resumes a killed run.
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
    parser.add_argument(
        "--cpu-seconds", type=float, default=1200.0, help="default 1200; 0: as long as the recipe"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="RUN folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(words)
    command = shlex.join(["python", "benchmarks/accuracy.py", *(words or sys.argv[1:])])

    from suite import record_of, rounded

    from ssd_keras.core.hardware import hardware
    from ssd_keras.data.sources import load_data
    from ssd_keras.engine import training_time
    from ssd_keras.engine.evaluate import evaluate
    from ssd_keras.engine.recipes import load_recipe, override
    from ssd_keras.engine.train import train

    minutes = f"schedule.minutes={options.cpu_seconds / CORES / 60}"
    length = [minutes, "schedule.epochs=0", "schedule.steps=0"] if options.cpu_seconds else []
    changes = [*options.set, *length, f"run.seed={options.seed}"]
    recipe = override(load_recipe(options.recipe), changes)
    train_data, validation_data = (load_data(f"{options.data}@{part}") for part in ("train", "val"))
    training_time.clock = lambda: time.process_time() / CORES
    started = time.process_time()
    is_resumed = (options.output / "recipe.toml").exists()
    history = train(recipe, train_data, validation_data, str(options.output), resume=is_resumed)
    used = time.process_time() - started
    metrics = evaluate(str(options.output), validation_data, progress=False)
    validated = [row for row in history if "val_AP" in row]
    record = record_of(command, hardware()) | {
        "data": options.data.rsplit("/", 1)[-1],
        "seed": options.seed,
        "training_cpu_seconds": None if is_resumed else used,
        "epochs": len(history),
        "best_epoch": max(validated, key=lambda row: row["val_AP"])["epoch"],
        "coco": metrics["coco"],
        "voc12_mAP": metrics["voc12"]["mAP"],
        "history": validated,
    }
    options.output.with_suffix(".json").write_text(json.dumps(rounded(record), indent=1) + "\n")
    print(json.dumps({name: round(metrics["coco"][name], 4) for name in ("AP", "AP50", "AP75")}))


if __name__ == "__main__":
    main()
