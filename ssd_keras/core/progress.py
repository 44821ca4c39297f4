"""Options of progress bars."""

from typing import Any

from ssd_keras.core.terminal import is_notebook

NOTEBOOK_DELAY = 1.0  # seconds: each bar of a notebook stays below its cell


def bar_options(progress: bool) -> dict[str, Any]:
    """Returns options of tqdm that show a bar, in a notebook of what takes a while, or none."""
    return {"disable": not progress, "delay": NOTEBOOK_DELAY if is_notebook() else 0.0}
