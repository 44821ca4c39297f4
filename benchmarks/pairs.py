"""Times sides in turns, each in a separate process; a side that waits uses no core."""

import importlib
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from tqdm import tqdm

from ssd_keras.core.hardware import machine_seconds, num_cores

MAX_OTHERS_SHARE = 0.05  # a busy core slows torch's threads tenfold: they spin at barriers


class Side(ProcessPoolExecutor):
    """`MODULE.SIDES[NAME](**options)`, whose methods run in a process on `cores` cores."""

    def __init__(self, module, name, cores=None, **options):
        super().__init__(1, multiprocessing.get_context("spawn"))
        self.ready = self.submit(start, module, name, cores, options)

    def __getattr__(self, method):
        return partial(self.ask, method)

    def ask(self, method, **options):
        self.ready.result()
        return self.submit(answer, method, options).result()


def start(module, name, cores, options):
    global side
    sys.stdout = sys.stderr  # what libraries print stays out of the table
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    side = importlib.import_module(module).SIDES[name](**options)


def answer(method, options):
    return getattr(side, method)(**options)


def take_turns(asks, rounds, warm_up=1, clock="seconds"):
    """Lists of seconds a call by name, and the median share of all cores that others used.

    `asks` return what `timed` or `repeated` does. The clock "core_seconds" is the CPU time of a
    side's process: on one core, the wall time less what others took of that core. Every second
    round runs in reverse, so that a machine that becomes slower favours no side.
    """
    seconds, others = {name: [] for name in asks}, []
    for turn in tqdm(range(-warm_up, rounds), unit="round", leave=False, disable=None):
        for name in list(asks)[:: -1 if turn % 2 else 1]:
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
    """Wall and CPU seconds of one call, and its result."""
    core, start = time.process_time(), time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "core_seconds": time.process_time() - core}, result


def repeated(function, least=0.2):
    """Wall and CPU seconds of as many calls as take `least` seconds, after one untimed call."""
    function()
    calls, core, start = 0, time.process_time(), time.perf_counter()
    while (seconds := time.perf_counter() - start) < least or not calls:
        function()
        calls += 1
    return {"seconds": seconds, "core_seconds": time.process_time() - core, "calls": calls}


def spread(values):
    lower, median, upper = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper}


def ratios(numerator, denominator):
    """Spread of the ratio of two lists of seconds, round by round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def row(what, peer, values, at_least=None, at_most=None):
    """One line of the table; `values` is a `spread`, compared with one target or none."""
    target, met = "report", None
    if at_least is not None:
        target, met = f"at least {at_least:g}", values["median"] >= at_least
    if at_most is not None:
        target, met = f"at most {at_most:g}", values["median"] <= at_most
    return {"what": what, "peer": peer, "ratio": values, "target": target, "met": met}


def table(rows):
    """The rows as Markdown."""
    lines = ["| what | against | ratio (quartiles) | target | met |", "|---|---|---|---|---|"]
    for one in rows:
        ratio = "{median:.3g} ({lower_quartile:.3g} to {upper_quartile:.3g})".format(**one["ratio"])
        met = {True: "yes", False: "**no**", None: ""}[one["met"]]
        lines.append(f"| {one['what']} | {one['peer']} | {ratio} | {one['target']} | {met} |")
    return "\n".join(lines)
