"""Every benchmark that a CPU can run, or those named, beside its peer, and one table.

    python benchmarks/suite.py [NAME ...] [--results DIRECTORY] [--tiny]

Each benchmark is a module here with a function `benchmark(tiny)`; see README.md.
"""

import argparse
import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path

from pairs import MAX_OTHERS_SHARE, hardware, num_cores, table

BENCHMARKS = (
    "input_pipeline",
    "target_encoding",
    "inference",
    "tflite_int8",
    "evaluation",
    "memory",
    "training_step",
    "scaling",
)
PACKAGES = ("tensorflow", "keras", "numpy", "ai-edge-litert", "pycocotools", "torch", "torchvision",
            "onnxruntime", "jax")  # fmt: skip


def main(words=None):
    options = arguments(words)
    rows = []
    for name in options.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        result = importlib.import_module(name).benchmark(options.tiny)
        rows += result["rows"]
        record = {
            "command": f"python benchmarks/suite.py {name}" + " --tiny" * options.tiny,
            "date": datetime.date.today().isoformat(),
            "hardware": hardware(),
            "versions": versions(),
            "load_average_before": round(load, 2),
            **result,
        }
        if options.results:
            options.results.mkdir(parents=True, exist_ok=True)
            path = options.results / f"{name}_{options.hardware}.json"
            path.write_text(json.dumps(rounded(record), indent=1) + "\n")
        print(table(result["rows"]), file=sys.stderr, flush=True)
        shares = result["others_share"]
        shares = shares.values() if isinstance(shares, dict) else [shares]
        if max((share or 0.0 for share in shares), default=0.0) > MAX_OTHERS_SHARE:
            print(f"warning: {name}: others used the cores too, run again", file=sys.stderr)
    print(table(rows))


def versions():
    installed = {found.metadata["Name"].lower() for found in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in PACKAGES if name in installed}


def rounded(value):
    """Numbers with four digits, all the way down."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def arguments(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--results", type=Path, help="directory for a JSON file of each")
    parser.add_argument("--tiny", action="store_true", help="a trial with numbers of no meaning")
    default = f"{platform.machine()}_{num_cores()}_cores"
    parser.add_argument("--hardware", default=default, help=f"in file names; default {default}")
    options = parser.parse_args(words)
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"{unknown[0]!r} is unknown; choose from {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    main()
