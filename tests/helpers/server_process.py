"""Servers of other projects as processes on the loopback address, in their environment."""

import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "export" / "serving"
SERVERS_PYTHON = ROOT / ".venv-servers" / "bin" / "python"
START_SECONDS, STOP_SECONDS = 240, 60


class Server(NamedTuple):
    """A running server: its address, its processes and the file of its messages."""

    url: str
    process: psutil.Process
    log: Path

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def listens_at(self) -> set[str]:
        """The addresses, without ports, at which its processes listen."""
        connections = [c for p in self.processes() for c in p.net_connections("inet")]
        return {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}

    def memory_bytes(self) -> int:
        """Memory of its processes; pages that several of them share count once."""
        return sum(process.memory_full_info().pss for process in self.processes())

    def core_seconds(self) -> float:
        """CPU time of its processes that run."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(one.user + one.system for one in times)

    def predict(
        self, request: object, model: str = "detector", content_type: str = "application/json"
    ) -> tuple[int, dict]:
        """The status and the JSON of an answer; bytes are sent as they are."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        url = f"{self.url}/v1/models/{model}:predict"
        headers = {"Content-Type": content_type}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@functools.cache
def is_installed(package: str) -> bool:
    """Whether the servers' environment has a package."""
    command = [SERVERS_PYTHON, "-m", "pip", "show", "--quiet", package]
    return SERVERS_PYTHON.exists() and not subprocess.run(command, capture_output=True).returncode


def skip_without(package: str) -> None:
    """Skips a test where the servers' environment lacks a package."""
    if not is_installed(package):
        pytest.skip(f"NOT TESTED: {package} is not installed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(program: str, model_dir: Path, *words: object) -> Iterator[Server]:
    """Runs `export/serving/PROGRAM.py` until the block ends, then stops it by SIGTERM.

    Fails where it does not start in time, or does not end in time, or leaves a process behind.
    """
    port, folder = free_port(), Path(tempfile.mkdtemp())
    command = [str(SERVERS_PYTHON), str(SERVING / f"{program}.py")]
    command += ["--model_dir", str(model_dir), "--http_port", str(port), *map(str, words)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    log = folder / "log"
    with open(log, "wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    server = Server(f"http://127.0.0.1:{port}", psutil.Process(running.pid), log)
    try:
        _wait_until_ready(server, running)
        yield server
        children = server.processes()[1:]
        running.terminate()
        # uvicorn, which KServe runs in, ends by the signal itself.
        ends = (0, -signal.SIGTERM)
        assert running.wait(STOP_SECONDS) in ends, log.read_text(errors="replace")
        _, alive = psutil.wait_procs(children, STOP_SECONDS)
        assert not alive, alive
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(server.processes()):
                process.kill()
        running.wait()
        shutil.rmtree(folder)


def _wait_until_ready(server: Server, running: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{server.url}/v1/models/detector"),
        ):
            return
        assert running.poll() is None, server.log.read_text(errors="replace")
        time.sleep(0.2)
    raise AssertionError(f"no start in {START_SECONDS} s: {server.log.read_text(errors='replace')}")
