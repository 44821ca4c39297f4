"""Notebooks in tests: rules for the files, and a run on less data."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def assert_is_kept_clean(path):
    """The notebook has no outputs and names no path of anybody's machine."""
    text = Path(path).read_text(encoding="utf-8")
    notebook = json.loads(text)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 8
    for cell in cells:
        assert cell["outputs"] == [] and cell["execution_count"] is None and not cell["metadata"]
        # A string that begins as an absolute path does, on any system.
        assert not re.search(r"""["'](/|~|[A-Za-z]:\\\\)""", "".join(cell["source"]))
    assert not re.search(r"/(home|root|tmp|work|Users|opt|usr|content)/|[A-Z]:\\\\", text)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


def execute(path, folder, last_cell, replacements=None):
    """Runs a notebook as Jupyter does, in a folder, and returns it with its outputs.

    `replacements` has other numbers for names that a cell sets; `last_cell` sees all variables.
    """
    for package in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(package, reason="NOT TESTED: Jupyter's packages are not installed")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for name, value in (replacements or {}).items():
        (cell,) = (each for each in notebook.cells if re.search(rf"(?m)^{name} = \d", each.source))
        cell.source = re.sub(rf"(?m)^{name} = \d+", f"{name} = {value}", cell.source)
    notebook.cells.append(nbformat.v4.new_code_cell(last_cell))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("KERAS_BACKEND", "tensorflow")
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=300, resources=resources).execute()
    return notebook


def outputs(notebook, mime_type):
    """Cells' outputs of a type such as "image/png", by the cell's id; the last one of each cell."""
    return {
        cell.id: output.data[mime_type]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if mime_type in output.get("data", {})
    }


def printed(notebook, name):
    """The text that a cell prints."""
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    return "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
