"""Progress bars in terminals, notebooks and elsewhere."""

import sys
import types

import pytest

from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import is_notebook, shows_progress


@pytest.mark.parametrize(
    ("shell", "is_one"),
    [(None, False), (types.SimpleNamespace(), False), (types.SimpleNamespace(kernel=1), True)],
    ids=["no shell", "a terminal with IPython", "a notebook"],
)
def test_a_notebook_shows_bars_of_what_takes_a_while(shell, is_one, monkeypatch):
    stand_in = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", stand_in)
    monkeypatch.delenv("SSD_KERAS_PROGRESS", raising=False)
    assert is_notebook() is is_one and shows_progress() is is_one
    assert bar_options(True) == {"disable": False, "delay": 1.0 if is_one else 0.0}
    assert bar_options(False)["disable"] is True
    assert shows_progress(True) is True and shows_progress(False) is False
    monkeypatch.setenv("SSD_KERAS_PROGRESS", "1")
    assert shows_progress() is True
