"""TensorFlow's first lines stay away where this package imports it, and the user's stay."""

import os
import subprocess
import sys

import pytest

# A package that logs as TensorFlow does: to the stream itself, by a level that it reads once.
FAKE = """
import os
if int(os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")) < 3:
    os.write(2, b"I cuInit\\n")
os.write(2, b"early\\n")
"""
OURS = """
import ssd_keras, types
exec("def load():\\n import tensorflow", vars(module := types.ModuleType("ssd_keras.part")))
module.load()
"""
LEFT = "\nimport os; print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'), tensorflow_spec())"
SPEC = """
def tensorflow_spec():
    import sys
    return type(sys.modules["tensorflow"].__spec__.loader).__name__
"""


@pytest.mark.parametrize(
    ("code", "level", "logged"),
    [
        (OURS, None, ""),
        (OURS, "3", ""),
        (OURS, "0", "I cuInit\nearly\n"),  # who sets a level wants the lines
        ("import ssd_keras, tensorflow", None, "I cuInit\nearly\n"),  # the user's own import
        ("import importlib.util, ssd_keras\nimportlib.util.find_spec('tensorflow')" + OURS,
         None, ""),  # a look for it loads nothing
    ],
)  # fmt: skip
def test_only_our_import_of_tensorflow_is_silent(code, level, logged, tmp_path):
    (tmp_path / "tensorflow.py").write_text(FAKE)
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    if level:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    process = subprocess.run(
        [sys.executable, "-c", SPEC + code + LEFT], env=environment, capture_output=True, text=True
    )
    assert (process.stdout, process.stderr) == (f"{level} SourceFileLoader\n", logged)
