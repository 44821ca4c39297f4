"""`ssd-keras data serve`."""

import argparse
import contextlib
import time

from ssd_keras.cli.arguments import positive_int
from ssd_keras.core.addresses import address_towards
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.core.text import counted

HELP = "read and augment images for trainings on other hosts"
DESCRIPTION = (
    "Starts processes that read and augment images for trainings, until Ctrl-C. The first host has "
    "the dispatcher, whose address trainings name (`train --help`); other hosts join it. All hosts "
    "see the images under the same paths and have the same versions of ssd_keras and TensorFlow. "
    "Whoever reaches the ports can read the files of these processes: keep them within your "
    "network."
)
EXAMPLES = (
    "ssd-keras data serve --port 5050",
    "ssd-keras data serve --dispatcher host1:5050 --workers 8",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("dispatcher (one of both)").add_mutually_exclusive_group(
        required=True
    )
    where.add_argument("--port", type=positive_int, metavar="PORT", help="start one on this port")
    where.add_argument(
        "--dispatcher", metavar="HOST:PORT", help="join the one that runs at this address"
    )
    workers = parser.add_argument_group("workers")
    workers.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="number of processes, which share the cores; one for each core is fastest, and each "
        "takes 0.5 to 1 GB; default %(default)s",
    )
    workers.add_argument(
        "--host",
        metavar="HOST",
        help="name or address of this host, under which trainings reach its workers; default: the "
        "address towards the dispatcher, or towards other networks",
    )
    parser.set_defaults(run=run)


def run(port: int | None, dispatcher: str | None, workers: int, host: str | None) -> None:
    start_tensorflow()
    from ssd_keras.data.workers.processes import WorkerProcesses
    from ssd_keras.data.workers.service import check_reachable, start_dispatcher

    with contextlib.ExitStack() as stack:
        if port:
            stack.callback(start_dispatcher(port)._stop)
            host = host or address_towards()
            address, training = f"localhost:{port}", f"{host}:{port}"
        else:
            address = training = str(dispatcher)
            check_reachable(address)
            host = host or address_towards(address)
        processes = WorkerProcesses(address, workers, host)
        stack.callback(processes.stop)
        print(
            f"{counted(workers, 'worker')} of {host}; trainings use --data-workers {training}; "
            "Ctrl-C ends",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)
                processes.check()
