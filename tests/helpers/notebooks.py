"""Notebooks in tests: what must hold of the files, and running them on less data."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[2]


def assert_is_kept_clean(path):
    """Valid, without outputs, and naming no place of anybody's machine."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    for cell in cells:
        assert cell.outputs == [] and cell.execution_count is None and not cell.metadata
        # A text that begins as an absolute path does, on any system.
        assert not re.search(r"""["'](/|~|[A-Za-z]:\\\\)""", cell.source)
    text = Path(path).read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users|opt|usr|content)/|[A-Z]:\\\\", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


def execute(path, folder, last_cell, fewer=None):
    """Runs a notebook in a folder and returns it with its outputs.

    `fewer` has other values for names that a cell sets; `last_cell` sees all variables.
    """
    notebook = nbformat.read(path, as_version=4)
    for name, value in (fewer or {}).items():
        (cell,) = (one for one in notebook.cells if re.search(rf"(?m)^{name} = \d", one.source))
        cell.source = re.sub(rf"(?m)^{name} = \d+", f"{name} = {value}", cell.source)
    notebook.cells.append(new_code_cell(last_cell))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("KERAS_BACKEND", "tensorflow")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=300, resources=resources).execute()
    return notebook


def outputs(notebook, kind):
    """What cells show of a kind such as "image/png", by the cell's id; of several the last."""
    return {
        cell.id: output.data[kind]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    }


def printed(notebook, name):
    """What a cell prints."""
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    return "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
