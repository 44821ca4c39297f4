"""The processor that something is measured on, and what else it does meanwhile."""

import os
import platform
from pathlib import Path


def num_cores() -> int:
    """Returns the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_seconds() -> float | None:
    """Returns the CPU seconds of all processes since the machine started, None without /proc."""
    try:
        line = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, *others = map(int, line.split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def hardware() -> dict[str, str | int]:
    """Returns processor, cores and version of Python, without the machine's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": (names or [platform.machine()])[0],
        "cores": num_cores(),
        "python": platform.python_version(),
    }
