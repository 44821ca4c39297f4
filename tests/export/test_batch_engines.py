"""The clients of Beam and Spark, run as a user runs them, against the Keras model."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest
from client_results import EXPORT, assert_equal, exported, keras_result

pytestmark = pytest.mark.consumers
VALID = ("fitting.png", "small.png", "rotated.jpg")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images of three sizes, and one file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    for name in (*VALID, "no_image.png"):
        shutil.copy(exported() / name, folder / name)
    return folder


def call(client, *words):
    command = [sys.executable, EXPORT / "clients" / f"{client}.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)


def check_rows(rows, images):
    """The rows are those of Keras, and the broken image has harmed no other."""
    by_name = {row["image"].rpartition("/")[2]: row for row in rows}
    assert len(rows) == 4 and set(by_name) == {*VALID, "no_image.png"}
    assert by_name["no_image.png"]["image_is_valid"] is False
    assert by_name["no_image.png"]["scores"] == []
    for name in VALID:
        row, expected = by_name[name], keras_result(images / name)
        assert row["image_is_valid"] is True
        height, width = expected["height"], expected["width"]
        columns = zip(row["class_names"], row["scores"], row["boxes"], strict=True)
        detections = [
            {
                "label": label,
                "score": score,
                "box": [left * width, top * height, right * width, bottom * height],
            }
            for label, score, (top, left, bottom, right) in columns
        ]
        assert_equal({"width": width, "height": height, "detections": detections}, expected)


def test_beam(images, tmp_path):
    if importlib.util.find_spec("apache_beam") is None:
        pytest.skip("NOT TESTED: Apache Beam is not installed")
    model = exported() / "detector" / "1"
    process = call("beam_handler", images / "*", "--model", model, "--output", tmp_path / "found")
    assert process.returncode == 0, process.stderr
    files = [path.read_text(encoding="utf-8") for path in tmp_path.glob("found-*.jsonl")]
    check_rows([json.loads(line) for file in files for line in file.splitlines()], images)


def test_spark(images, tmp_path):
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        pytest.skip("NOT TESTED: Spark or Java is not installed")
    model = exported() / "detector" / "1"
    process = call("spark_udf", images, "--model", model, "--output", tmp_path / "found")
    assert process.returncode == 0, process.stderr
    parquet = pytest.importorskip("pyarrow.parquet")
    check_rows(parquet.read_table(tmp_path / "found").to_pylist(), images)


@pytest.mark.parametrize(
    ("client", "package"), [("beam_handler", "apache_beam"), ("spark_udf", "pyspark")]
)
def test_a_missing_model_is_reported_in_one_line(client, package, tmp_path):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"NOT TESTED: {package} is not installed")
    process = call(client, tmp_path, "--model", "gone", "--output", tmp_path / "found")
    assert process.returncode == 2
    # Beam warns on its import of a package of Google's cloud that is missing.
    assert process.stderr.splitlines()[-1] == "error: 'gone' is no SavedModel; pass its folder"
