"""Time a training step beside torchvision's, in one run, in alternating pairs.

    python benchmarks/training_step.py [--pairs 5] [--batch-size 8] [--json FILE]
    python benchmarks/training_step.py --curves [--steps 30]

A step is forward, loss, backward and SGD with momentum, on all cores. Each side lives in a process
of its own and waits, without using a core, while the other is timed. See README.md.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from pairs import MAX_OTHERS_SHARE, Answering, hardware, ratios, row, spread

SIDES = ("torchvision", "ssd_keras")
PRECISIONS = ("float32", "bfloat16")
SHARES_OF_PEAK = {"float32": 0.9, "bfloat16": 0.8}
SSD300, SSDLITE = "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"
FORWARD_GFLOP = 62.8  # of one 300 x 300 image, SSD300 with VGG16, two a multiply-add
STEP_GFLOP = 3 * FORWARD_GFLOP  # forward, gradients of the maps, gradients of the weights


class Peer(Answering):
    """One side in its own process."""

    def __init__(self, name, precision, batch_size, model=SSD300):
        super().__init__(name, "peers.py", name, precision, str(batch_size), model)


def measure(precision, pairs, batch_size, warm_up=2, model=SSD300):
    """Alternating pairs of one precision: peaks, seconds a step of both sides, encoding."""
    with Peer("torchvision", precision, batch_size, model) as theirs:
        description = {"torchvision": theirs.ask("describe")}
        with Peer("ssd_keras", precision, batch_size, model) as ours:
            description["ssd_keras"] = ours.ask("describe")
            sides = {"torchvision": theirs, "ssd_keras": ours}
            peaks = {name: peer.ask("matmul")["gflops"] for name, peer in sides.items()}
            seconds = {name: [] for name in sides}
            others = []
            for pair in range(-warm_up, pairs):
                for name, peer in sides.items():
                    result = peer.ask("step")
                    say(f"{precision} {name} {label(pair)}: {result['seconds']:.2f} s")
                    if pair >= 0:
                        seconds[name].append(result["seconds"])
                        others.append(result.get("others_share", 0.0))
            ours.ask("encode")
            encoding = statistics.median(ours.ask("encode")["seconds"] for _ in range(5))
    return {
        "sides": description,
        "matmul_gflops": peaks,
        "seconds": seconds,
        "encoding_seconds": encoding,
        "others_share": max(others),
    }


def label(pair):
    return f"pair {pair + 1}" if pair >= 0 else "warm-up"


def say(text):
    print(text, file=sys.stderr, flush=True)


def summary(measured, batch_size):
    """Medians, ratios of the pairs and shares of the peak, added to what was measured."""
    theirs, ours = (measured["seconds"][name] for name in SIDES)
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    best = max(measured["matmul_gflops"].values())
    return measured | {
        "median_seconds": {name: statistics.median(s) for name, s in measured["seconds"].items()},
        "ratios": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "share_of_peak": {
            name: STEP_GFLOP * batch_size / statistics.median(s) / best
            for name, s in measured["seconds"].items()
        },
    }


def table(results, batch_size):
    """The rows that are printed."""
    rows = [("", "precision", "s a step", "least", "most", "share of peak")]
    for precision, result in results.items():
        for name in SIDES:
            seconds = result["seconds"][name]
            row = (result["median_seconds"][name], min(seconds), max(seconds))
            share = f"{result['share_of_peak'][name]:.0%}"
            rows.append((name, precision, *(f"{value:.2f}" for value in row), share))
        ratios = result["ratios"]
        row = (f"{ratios[key]:.2f}" for key in ("median", "min", "max"))
        rows.append(("torchvision / ssd_keras", precision, *row, ""))
        seconds = f"{result['encoding_seconds']:.3f}"
        rows.append((f"ssd_keras, encoding of {batch_size}", precision, seconds, "", "", ""))
        for name, gflops in result["matmul_gflops"].items():
            rate = f"{gflops:.0f} GFLOP/s"
            rows.append((f"{name}, matrix product", precision, rate, "", "", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = zip(row, widths, strict=True)
        aligned = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(cells)]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def benchmark(tiny):
    """The rows of the suite; see `suite.py`."""
    batch_size, pairs = (1, 1) if tiny else (8, 5)
    result = {"rows": [], "precisions": {}, "others_share": {}}
    for precision, share in SHARES_OF_PEAK.items():
        measured = summary(measure(precision, pairs, batch_size, 1), batch_size)
        result["precisions"][precision] = measured
        result["others_share"][precision] = measured["others_share"]
        theirs, ours = (measured["seconds"][name] for name in SIDES)
        peak = STEP_GFLOP * batch_size / max(measured["matmul_gflops"].values())
        what = f"training step SSD300-VGG16, batch {batch_size}, {precision}: "
        result["rows"] += [
            row(what + "time", "torchvision", ratios(ours, theirs), "at most", 0.75),
            row(
                what + "rate",
                "the machine's matrix product",
                spread([peak / seconds for seconds in ours]),
                "at least",
                share,
            ),
        ]
    # Batch normalisation of a map of one cell wants two images.
    batch_size, pairs = (2, 1) if tiny else (16, 10)
    measured = result[SSDLITE] = measure("float32", pairs, batch_size, 2, SSDLITE)
    result["others_share"][SSDLITE] = measured["others_share"]
    what = f"training step SSDLite320-MobileNetV3, batch {batch_size}, float32: time"
    theirs, ours = (measured["seconds"][name] for name in SIDES)
    result["rows"].append(row(what, "torchvision", ratios(ours, theirs), "at most", 0.75))
    return result


def curves(steps, batch_size):
    """Loss curves of ssd_keras in both precisions, same weights and batches."""
    losses = {}
    for precision in PRECISIONS:
        with Peer("ssd_keras", precision, batch_size) as ours:
            losses[precision] = ours.ask("curve", steps=steps)["losses"]
    pairs = list(zip(*losses.values(), strict=True))
    differences = [abs(half - full) / abs(full) for full, half in pairs]
    print("step   float32  bfloat16  relative difference")
    for step, ((full, half), difference) in enumerate(zip(pairs, differences, strict=True), 1):
        print(f"{step:4d}  {full:8.4f}  {half:8.4f}  {difference:.4f}")
    print(f"largest relative difference: {max(differences):.4f}")
    return {"losses": losses, "largest_relative_difference": max(differences)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=5, help="timed pairs a precision")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--curves", action="store_true", help="compare losses instead of times")
    parser.add_argument("--steps", type=int, default=30, help="steps of --curves")
    parser.add_argument("--json", type=Path, help="write the results there")
    return parser.parse_args()


def main():
    options = arguments()
    result = {"hardware": hardware(), "batch_size": options.batch_size}
    if options.curves:
        result["curves"] = curves(options.steps, options.batch_size)
    else:
        result["precisions"] = {
            precision: summary(
                measure(precision, options.pairs, options.batch_size), options.batch_size
            )
            for precision in options.precisions
        }
        print(", ".join(f"{key} {value}" for key, value in result["hardware"].items()))
        print(table(result["precisions"], options.batch_size))
        others = max(measured["others_share"] for measured in result["precisions"].values())
        if others > MAX_OTHERS_SHARE:
            print(
                f"warning: other processes used up to {others:.0%} of the cores during a step, "
                f"expected at most {MAX_OTHERS_SHARE:.0%}: these times are not to be trusted, "
                "run again on an idle machine"
            )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
