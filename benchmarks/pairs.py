"""Two or more sides, each in a process of its own, timed in turns.

`Side` starts a process that runs `python benchmarks/pairs.py MODULE NAME OPTIONS`: it imports the
module, makes `module.SIDES[NAME](**options)`, and answers one line of JSON on standard output
(after "@", so that a library's chatter does no harm) to each line of JSON on standard input, which
names a method and its arguments. A side that waits uses no core.
"""

import contextlib
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
MAX_OTHERS_SHARE = 0.05  # a busy core slows torch's threads tenfold: they spin at barriers


class Answering:
    """A script of this folder in its own process, which answers a line of JSON to each."""

    def __init__(self, name, script, *words):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env=environment(),
        )

    def ask(self, do, **options):
        """Send one request and wait for its answer."""
        try:
            self.process.stdin.write(json.dumps({"do": do, **options}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the empty answer below says so
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit(
            f"error: {self.name} ended with status {self.process.wait()} when asked to {do}, "
            "expected an answer: its own message stands above; install "
            "benchmarks/requirements.txt if a package is missing"
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Side(Answering):
    """One side in its own process, on the first `cores` cores (default: all)."""

    def __init__(self, module, name, cores=None, **options):
        options = json.dumps({"cores": cores, **options})
        super().__init__(name, "pairs.py", module, name, options)


def environment():
    """This environment, with the checkout importable and TensorFlow quiet."""
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }


def take_turns(asks, rounds, warm_up=1, clock="seconds"):
    """Seconds of each side: `asks` are functions by name that give what `timed` gives.

    The clock "core_seconds" counts what a side's process ran: on one core the same as "seconds",
    but for what others took of that core meanwhile. Every second round goes backwards, so that a
    machine that grows slower harms nobody's ratio.

    Returns:
        lists of seconds by name, and the largest share of the cores that other processes used.
    """
    seconds = {name: [] for name in asks}
    others = []
    turns = [(turn, name) for turn in range(-warm_up, rounds)
             for name in list(asks)[:: -1 if turn % 2 else 1]]  # fmt: skip
    with tqdm(turns, unit="turn", leave=False, disable=None) as bar:
        for turn, name in bar:
            bar.set_description(str(name), refresh=False)
            machine, start = machine_seconds(), time.perf_counter()
            result = asks[name]()
            if turn < 0:
                continue
            seconds[name].append(result[clock] / result.get("calls", 1))
            if machine is not None:
                used = machine_seconds() - machine - result["core_seconds"]
                others.append(used / (time.perf_counter() - start) / num_cores())
    return seconds, max(0.0, statistics.median(others)) if others else None


def timed(function):
    """Wall and core seconds of one call, as a side answers them, and what it returned."""
    core, start = time.process_time(), time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "core_seconds": time.process_time() - core}, result


def repeated(function, least=0.2):
    """Like `timed`, of as many calls as take `least` seconds together; the first is not counted."""
    function()
    calls = 0
    core, start = time.process_time(), time.perf_counter()
    while (seconds := time.perf_counter() - start) < least or not calls:
        function()
        calls += 1
    core_seconds = time.process_time() - core
    return {"seconds": seconds, "core_seconds": core_seconds, "calls": calls}


def spread(values):
    """Median and quartiles."""
    lower, median, upper = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper}


def ratios(numerator, denominator):
    """Spread of the ratio of two lists of seconds, round by round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def row(what, peer, values, sense, target=None):
    """One line of the table: `values` is a `spread`; sense "at least", "at most" or "report"."""
    median = values["median"]
    met = None
    if target is not None:
        met = median >= target if sense == "at least" else median <= target
    return {
        "what": what,
        "peer": peer,
        "ratio": values,
        "target": sense if target is None else f"{sense} {target:g}",
        "met": met,
    }


def table(rows):
    """The rows as Markdown."""
    lines = ["| what | against | ratio (quartiles) | target | met |", "|---|---|---|---|---|"]
    for one in rows:
        median, low, high = (
            f"{one['ratio'][name]:.3g}" for name in ("median", "lower_quartile", "upper_quartile")
        )
        met = {True: "yes", False: "**no**", None: ""}[one["met"]]
        cells = (one["what"], one["peer"], f"{median} ({low} to {high})", one["target"], met)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def num_cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_seconds():
    """Core seconds that anybody has used since the start of the machine; None if unknown."""
    try:
        with open("/proc/stat") as statistics_file:
            fields = [int(field) for field in statistics_file.readline().split()[1:9]]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    busy = user + nice + system + interrupts + soft_interrupts + stolen
    return busy / os.sysconf("SC_CLK_TCK")


def hardware():
    """Processor, cores and Python; nothing that names the machine."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": num_cores(), "python": platform.python_version()}


def import_torchvision():
    """Import torchvision; training needs none of its compiled operators, only their names.

    Its wheel does not load them beside some builds of torch, and then fails to be imported.
    """
    try:
        import torchvision
    except RuntimeError:
        import torch

        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.declared_operators = library  # they live as long as it does
    return torchvision


def serve(module, name, options):
    """What a side's process does until its input ends."""
    options = json.loads(options)
    cores = options.pop("cores")
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    if name == "ssd_keras":
        from ssd_keras.core.terminal import import_tensorflow

        import_tensorflow()
    side = importlib.import_module(module).SIDES[name](**options)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(side, request.pop("do"))(**request)
        print("@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
