"""Trains in a child process, whose parent says in one line what JAX says in many when it aborts."""

import contextlib
import ctypes
import json
import os
import re
import signal
import sys
import tempfile
from typing import IO, Any

from ssd_keras.core.exit_status import FAILED, START_AGAIN

LOST = re.compile(r"unhealthy \(stopped sending heartbeats\):\s*([^\n]+)")
LEADER_IS_GONE = "Failed to send RPC to coordination service"
NEVER_CAME = re.compile(r"DEADLINE_EXCEEDED(?s:.)*RegisterTask")
HEARTBEATS = re.compile(r"JAX distributed service detected fatal errors")
PR_SET_PDEATHSIG = 1


def run_in_child(output: str, index: int | None, number: int | None) -> int | None:
    """Forks; returns None in the child, which goes on, and the exit status in the parent.

    What compiled code writes in the child goes to a file, which the parent reads when the child
    has ended; Python's output goes where it always does. Fork while there is one thread.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as messages:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _become_child(parent, messages)
            return None

        def pass_on(number: int, _: object) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

        signal.signal(signal.SIGTERM, pass_on)
        signal.signal(signal.SIGINT, pass_on)
        _, status = os.waitpid(child, 0)
        messages.seek(0)
        text = messages.read()
    return _judge(os.waitstatus_to_exitcode(status), text, output, index, number)


def _become_child(parent: int, messages: IO[str]) -> None:
    # A key in the terminal reaches the parent alone, which passes it on.
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            os._exit(FAILED)
    for name, number in (("stdout", 1), ("stderr", 2)):
        getattr(sys, name).flush()
        own = os.fdopen(os.dup(number), "w", buffering=1, errors="replace")
        setattr(sys, name, own)
        os.dup2(messages.fileno(), number)


def _judge(status: int, messages: str, output: str, index: int | None, number: int | None) -> int:
    """Returns the exit status of a child that ended, after a line where it printed none."""
    if status >= 0:
        return status
    who, of = (f"process {index}", f" of {number}") if number else ("this process", "")
    if status == -signal.SIGABRT and NEVER_CAME.search(messages):
        _print(
            f"{who}{of} did not find all the others in time; start all of them with the same "
            "arguments but --process-index, and a --coordinator that all of them reach."
        )
        return START_AGAIN
    if status == -signal.SIGABRT and (lost := _lost(messages)):
        ended = f"{lost}{of} ended or its host does not answer"
    elif -status in (signal.SIGKILL, signal.SIGTERM):
        ended = f"{who}{of} was ended by {signal.Signals(-status).name}"
    else:
        _print(f"{who}{of} ended by signal {-status}; its last messages:")
        print(messages[-4000:], file=sys.stderr)
        return FAILED
    _keep(messages, output, index or 0)
    _print(
        f"{ended}, so all of them stop; start all of them again with --resume: the training goes "
        f"on from {_reached(output)}."
    )
    return START_AGAIN


def _lost(messages: str) -> str:
    """Returns the processes that JAX says are lost; "" where it has not ended this one."""
    if not HEARTBEATS.search(messages):
        return ""
    if found := LOST.search(messages):
        # "1", or "/job:jax_worker/replica:0/task:1", several with commas
        numbers = re.findall(r"(\d+)(?=\s*(?:,|$))", found[1])
        if numbers:
            return f"process {', '.join(numbers)}"
    return "process 0" if LEADER_IS_GONE in messages else "another process"


def _reached(output: str) -> str:
    """Returns the place from which a training resumes."""
    try:
        with open(os.path.join(output, "state.json"), encoding="utf-8") as file:
            state: Any = json.load(file)
        epoch, step = int(state["epoch"]), int(state.get("step", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "the start"
    step_text = f", step {step}" if step else ""
    return f"epoch {epoch}{step_text}" if epoch or step else "the start"


def _keep(messages: str, output: str, index: int) -> None:
    """Keeps JAX's own messages beside the training."""
    # Any file would make a folder without a training a foreign one.
    if not os.path.isfile(os.path.join(output, "recipe.toml")):
        return
    path = os.path.join(output, f"jax-{index}.log")
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        file.write(messages)


def _print(text: str) -> None:
    print(f"ssd-keras: {text}", file=sys.stderr, flush=True)
