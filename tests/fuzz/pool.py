"""Runs inputs in subprocesses, which may crash and hang."""

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
MEMORY = 6 * 1024**3  # bytes that a process may take beyond what TensorFlow has


class Task(NamedTuple):
    """One input: its kind, the seed, and its number or the attack's name."""

    kind: str
    seed: int
    name: str

    @property
    def folder(self) -> str:
        """Name of the folder of this input."""
        return f"{self.kind}-{self.seed}-{self.name}".replace(" ", "_").replace(":", "")


class Result(NamedTuple):
    """How a task ended, and the message."""

    task: Task
    verdict: str
    words: str


Work = Callable[[Task, str], tuple[str, str]]  # task, new folder -> verdict, message


def run_all(
    tasks: Sequence[Task], folder: str, work: Work, processes: int, seconds: float
) -> Iterator[Result]:
    """Runs tasks, each for at most `seconds`, and keeps the input of those that are lost."""
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
    """Passes tasks to a worker, and starts a new one after a crash or a hang."""
    worker = None
    while True:
        try:
            task = waiting.get_nowait()
        except queue.Empty:
            break
        worker = worker or _Worker(work)
        task_folder = os.path.join(folder, task.folder)
        verdict, words = worker.run(task, task_folder, seconds)
        if not worker.is_alive:
            worker = None
        if verdict == "lost":
            with open(os.path.join(folder, f"{task.folder}.txt"), "w") as file:
                file.write(f"{task}\n{words}\n")
        else:
            shutil.rmtree(task_folder, ignore_errors=True)
        results.put(Result(task, verdict, words))
    if worker:
        worker.end()


class _Worker:
    """A subprocess that runs one task at a time."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, work), daemon=True)
        self.process.start()
        other.close()
        self.is_alive, self.is_ready = True, False

    def run(self, task: Task, folder: str, seconds: float) -> tuple[str, str]:
        """Runs one task; a crash or a hang ends the process."""
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
        """Ends the process by closing its connection."""
        self.is_alive = False
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, work: Work) -> None:
    """Runs in the subprocess: limits its memory, then answers one task after the other."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    connection.send(True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print to stderr
    while True:
        try:
            task, folder = connection.recv()
        except EOFError:
            return
        connection.send(tuple(work(task, folder)))
