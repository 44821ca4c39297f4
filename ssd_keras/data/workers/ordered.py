"""Batches that arrive in any order and may be lost, in the order of their steps."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MOST_WAITING = 16  # batches that wait for an earlier one; each holds the memory of its images
PATIENCE = 5.0  # seconds that a batch may be late while later ones are there
POLL = 0.5  # seconds between two looks at the workers

Arrival = tuple[int, Any]


def in_order(
    receive: Callable[[float], Arrival | None],
    recompute: Callable[[list[int]], Iterable[Arrival]],
    start: int,
) -> Iterator[Any]:
    """Yields the batch of every step from `start` on.

    `receive` waits at most so many seconds for a batch of any step. A lost worker takes a few
    batches with it: those that stay away while later ones come are computed here. One that comes
    after all is dropped.
    """
    waiting: dict[int, Any] = {}
    for step in itertools.count(start):
        deadline = time.monotonic() + PATIENCE
        while step not in waiting:
            arrival = receive(POLL)
            if arrival is not None and arrival[0] >= step:
                waiting.setdefault(*arrival)
            is_late = len(waiting) >= MOST_WAITING or time.monotonic() > deadline
            if waiting and is_late and step not in waiting:
                missing = sorted(set(range(step, max(waiting))) - set(waiting))
                waiting.update(recompute(missing))
        yield waiting.pop(step)
