"""`ssd-keras benchmark`."""

import argparse
from collections.abc import Sequence

from ssd_keras.cli.arguments import DATA_HELP, DETECTOR_HELP, positive_int
from ssd_keras.cli.inputs import print_problems
from ssd_keras.core.files import check_writable

HELP = "measure size and speed of models and exports"
DESCRIPTION = (
    "Compares models and their exports: size, time to load, and the time of one image, which half "
    "(p50) and 95 % (p95) of the runs do not exceed. Each is measured in a process of its own."
)
EXAMPLES = (
    "ssd-keras benchmark runs/mine mine.tflite mine_int8.tflite --threads 1,2",
    "ssd-keras benchmark runs/mine mine.tflite --data voc:ROOT@val --json speed.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to measure")
    group.add_argument("models", nargs="+", metavar="MODEL", help=DETECTOR_HELP)
    group.add_argument(
        "--threads",
        type=positive_ints,
        default=(2,),
        metavar="N,...",
        help="threads to measure with, one row each, such as 1,2; default 2",
    )
    group.add_argument(
        "--runs",
        type=positive_int,
        default=100,
        metavar="N",
        help="timed runs of one image; default %(default)s",
    )
    group.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATA",
        help=f"also measure AP, and time images of this {DATA_HELP}. Default: generated images",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", dest="json_path", metavar="FILE", help="also write the numbers to a JSON file"
    )
    parser.set_defaults(run=run)


def positive_ints(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(positive_int, text.split(","))))


def run(
    models: Sequence[str],
    threads: Sequence[int],
    runs: int,
    data: Sequence[str],
    json_path: str | None,
) -> None:
    if json_path:
        check_writable(json_path)
    from ssd_keras.engine.benchmark import benchmark, benchmark_table, busy_warning

    result = benchmark(models, threads, runs, data)
    if json_path:  # before what is printed, which may fail
        from ssd_keras.engine.evaluate import write_json

        write_json(result, json_path)
    print_problems([*result.get("problems", ()), *filter(None, [busy_warning(result)])])
    print(benchmark_table(result))
