"""`import ssd_keras` is light, looks at nothing, and `load_model` works in any order of imports."""

import os
import subprocess
import sys

import pytest

from ssd_keras import from_preset

ORDERS = {
    "keras, then ssd_keras": "import keras; import ssd_keras",
    "ssd_keras, then keras": "import ssd_keras; import keras",
    "one name": "from ssd_keras import DetectionResult; import keras",
    "a module that imports keras": "import ssd_keras.boxes.default_boxes; import keras",
}
LOAD = "; model = keras.saving.load_model('model.keras'); print(type(model).__name__)"


def run(code, folder, arguments=()):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    from_preset("ssd192_small_shapes", ["cat"], width=4).save(folder / "model.keras")
    return folder


@pytest.mark.parametrize("order", ORDERS)
def test_load_model_works_after(order, folder):
    process = run(ORDERS[order] + LOAD, folder)
    assert process.stdout == "SSD\n", process.stderr


@pytest.mark.parametrize("arguments", [[], ["ssd-keras", "train"], ["-m"]])
def test_plain_import_loads_neither_keras_nor_tensorflow(arguments, tmp_path):
    code = (
        f"import sys; sys.argv[:] = {arguments}; import ssd_keras, ssd_keras.evaluation; "
        "print({'keras', 'tensorflow', 'jax'} & sys.modules.keys())"
    )
    process = run(code, tmp_path)
    assert process.stdout == "set()\n", process.stdout + process.stderr
