"""Command line: runs the attacks and the damaged files of each kind, and prints a table."""

import argparse
import collections
import os
import shutil
import sys
import tempfile

from tqdm.auto import tqdm

from fuzz import __doc__ as description
from fuzz.attacks import ATTACKS
from fuzz.corpus import KINDS
from fuzz.judge import ACCEPTED, ATTACK, LOST, REPORTED, run_input
from fuzz.pool import Task, run_all
from fuzz.user_files import FILE_KINDS, MODEL_KINDS

COUNT, MODEL_COUNT = 400, 300  # about 10,000 in all
ROW = "{:12}{:>8}{:>10}{:>10}{:>8}"


def main() -> int:
    """Runs the fuzzer; the exit status is 1 where an input was lost."""
    parser = argparse.ArgumentParser(
        prog="fuzz", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    kinds = (*KINDS, *FILE_KINDS, ATTACK)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument(
        "--count",
        type=int,
        help=f"inputs of each kind; default {COUNT}, of runs, models and exports {MODEL_COUNT}",
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="time limit of one input")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", default="runs/fuzz", help="folder of the lost inputs")
    options = parser.parse_args()
    tasks = [Task(ATTACK, 0, name) for name in ATTACKS if ATTACK in options.kinds]
    for kind in options.kinds:
        count = options.count or (MODEL_COUNT if kind in MODEL_KINDS else COUNT)
        numbers = range(options.first, options.first + (0 if kind == ATTACK else count))
        tasks += [Task(kind, options.seed, str(number)) for number in numbers]
    counts: dict[str, collections.Counter] = {kind: collections.Counter() for kind in options.kinds}
    lost = []
    with tempfile.TemporaryDirectory() as folder:
        results = run_all(tasks, folder, run_input, options.processes, options.seconds)
        for task, verdict, words in tqdm(results, "fuzzing", len(tasks), unit="input"):
            counts[task.kind][verdict] += 1
            if verdict == LOST:
                lost.append(f"{task.folder}: {words.splitlines()[-1][:150]}")
        if lost:
            shutil.copytree(folder, options.output, dirs_exist_ok=True, symlinks=True)
    print(ROW.format("kind", "tried", ACCEPTED, REPORTED, LOST))
    for kind, count in [*counts.items(), ("all", sum(counts.values(), collections.Counter()))]:
        print(ROW.format(kind, count.total(), count[ACCEPTED], count[REPORTED], count[LOST]))
    if lost:
        print(*lost[:20], f"lost inputs are in {options.output}", sep="\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
