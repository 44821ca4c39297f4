"""Runs every benchmark that a CPU can run, or those named, and prints one table; see README.md."""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from pairs import MAX_OTHERS_SHARE, table

from ssd_keras.core.hardware import hardware, num_cores

BENCHMARKS = ("input_pipeline", "target_encoding", "inference", "tflite_int8", "evaluation",
              "memory", "training_step", "scaling")  # fmt: skip
PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "pycocotools", "torch", "torchvision",
            "onnxruntime", "jax")  # fmt: skip


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", choices=BENCHMARKS, help="default: all")
    parser.add_argument("--results", type=Path, help="directory for a JSON file of each")
    parser.add_argument("--tiny", action="store_true", help="a trial with numbers of no meaning")
    default = f"{platform.machine()}_{num_cores()}_cores"
    parser.add_argument("--hardware", default=default, help=f"in file names; default {default}")
    options = parser.parse_args(words)
    rows = []
    for name in options.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        result = importlib.import_module(name).benchmark(options.tiny)
        rows += result["rows"]
        command = f"python benchmarks/suite.py {name}" + " --tiny" * options.tiny
        record = record_of(command, hardware()) | {"load_average_before": load} | result
        if options.results:
            options.results.mkdir(parents=True, exist_ok=True)
            path = options.results / f"{name}_{options.hardware}.json"
            path.write_text(json.dumps(rounded(record), indent=1) + "\n")
        print(table(result["rows"]), file=sys.stderr)
        shares = result["others_share"]
        shares = shares.values() if isinstance(shares, dict) else [shares]
        if max(share or 0.0 for share in shares) > MAX_OTHERS_SHARE:
            print(f"warning: other processes used the cores during {name}", file=sys.stderr)
    print(table(rows))


def record_of(command, hardware):
    installed = {one.name.lower(): one.version for one in importlib.metadata.distributions()}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    date = datetime.date.today().isoformat()
    return {"command": command, "date": date, "hardware": hardware, "versions": versions}


def rounded(value):
    """The same value with four significant digits in every float."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.4g}"))


if __name__ == "__main__":
    main()
