"""Runs inputs in processes of their own, which may crash and hang."""

import contextlib
import multiprocessing
import os
import queue
import resource
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

START_SECONDS = 300
MEMORY = 6 * 1024**3  # bytes that a process may take on top of what TensorFlow has


class Task(NamedTuple):
    """One input: a kind, or attacks, and its number, or the attack's name."""

    kind: str
    seed: int
    name: str

    @property
    def folder(self) -> str:
        """A name for the folder of this input."""
        return f"{self.kind}-{self.seed}-{self.name}".replace(" ", "_").replace(":", "")


class Result(NamedTuple):
    """How a task ended: "accepted", "told" or "lost", and the words of it."""

    task: Task
    verdict: str
    words: str


Work = Callable[[Task, str], tuple[str, str]]
"""Takes a task and a new folder, gives the verdict and its words."""


def run_all(
    tasks: Sequence[Task], folder: str, work: Work, processes: int, seconds: float
) -> Iterator[Result]:
    """Runs tasks; where one is lost, its input stays.

    Args:
        tasks: what to run.
        folder: inputs are written below it.
        work: a function of a module, which each process imports before it begins.
        processes: how many at a time.
        seconds: after which a task counts as hanging.

    Yields:
        `Result`s as they come.
    """
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    results: queue.SimpleQueue = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    arguments = (waiting, results, folder, seconds, work)
    threads = [
        threading.Thread(target=_supervise, args=arguments, daemon=True) for _ in range(processes)
    ]
    for thread in threads:
        thread.start()
    for _ in tasks:
        yield results.get()
    for thread in threads:
        thread.join()


def _supervise(
    waiting: queue.SimpleQueue,
    results: queue.SimpleQueue,
    folder: str,
    seconds: float,
    work: Work,
) -> None:
    """Hands tasks to one process after the other, until there is none left."""
    worker = None
    while True:
        try:
            task = waiting.get_nowait()
        except queue.Empty:
            break
        worker = worker or _Worker(work)
        place = os.path.join(folder, task.folder)
        verdict, words = worker.run(task, place, seconds)
        if not worker.is_alive:
            worker = None
        if verdict == "lost":
            with open(os.path.join(folder, f"{task.folder}.txt"), "w") as file:
                file.write(f"{task}\n{words}\n")
        else:
            shutil.rmtree(place, ignore_errors=True)
        results.put(Result(task, verdict, words))
    if worker:
        worker.end()


class _Worker:
    """A process that does one task at a time."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, work), daemon=True)
        self.process.start()
        other.close()
        self.is_alive, self.is_ready = True, False

    def run(self, task: Task, folder: str, seconds: float) -> tuple[str, str]:
        """One task; a process that crashes or hangs ends with it."""
        try:
            if not self.is_ready:  # imports do not count
                self.is_ready = self.connection.poll(START_SECONDS) and self.connection.recv()
            self.connection.send((task, folder))
            if self.connection.poll(seconds):
                return self.connection.recv()
            words = f"hangs: no answer after {seconds:g} seconds"
        except (EOFError, OSError):
            self.process.join()
            words = f"crash: the process ended with {self.process.exitcode}"
        self.process.kill()
        self.end()
        return "lost", words

    def end(self) -> None:
        """Lets the process end: it has nobody to listen to any more."""
        self.is_alive = False
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, work: Work) -> None:
    """What a process does: limits its memory, then answers one task after the other."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    connection.send(True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print there, whatever they are told
    while True:
        try:
            task, folder = connection.recv()
        except EOFError:
            return
        connection.send(tuple(work(task, folder)))
