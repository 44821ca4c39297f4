"""Requests for exports: the paths and options that are refused, and how."""

import argparse
import configparser
import inspect
import re
from pathlib import Path

import pytest

from ssd_keras import cli
from ssd_keras.cli import export
from ssd_keras.exporters import formats
from ssd_keras.exporters.formats import (
    EXACT,
    Format,
    FormatModule,
    Option,
    Tolerance,
    check_request,
)

INT4 = Option(("int4",), "four bits")

SAVED, LITE = ("served/1", "saved_model"), ("x.tflite", "tflite")
WRONG = [
    ("x.pb", "savedmodel", {}, "^format 'savedmodel' is unknown; did you mean 'saved_model'[?] ch"),
    (
        "x",
        "tflite",
        {},
        "^output 'x' does not fit the format tflite; pass a file ending in .tflite",
    ),
    ("x.tflite", "saved_model", {}, "does not fit the format saved_model; pass a folder"),
    (*SAVED, {"nms": "op"}, "^option 'nms' is unknown; choose one of post_process, images, pre"),
    (*SAVED, {"quantize": "int8"}, r"^quantize is an option of tflite, not of saved_model\.$"),
    (*LITE, {"precision": "half"}, r"^precision is an option of saved_model, not of tflite\.$"),
    (
        *SAVED,
        {"precision": "half"},
        "^precision 'half' is unknown; .*choose one of float32, bfloat16",
    ),
    (*SAVED, {"weights": "frozen"}, "^weights 'frozen' is unknown; .*choose one of constants, "),
    (*SAVED, {"max_pixels": "many"}, "^max_pixels is 'many'; expected a whole number of 1 or more"),
    (*SAVED, {"max_pixels": 0}, "^max_pixels is 0; expected a whole number of 1 or more"),
    (*LITE, {"quantize": "int4"}, "^quantize 'int4' is unknown; .*choose one of none, float16"),
    (
        *LITE,
        {"post_processing": "nms"},
        "^post_processing 'nms' is unknown; .*choose one of built",
    ),
    (
        *LITE,
        {"input_dtype": "int8"},
        "^input_dtype 'int8' is unknown; .*choose one of uint8, float32",
    ),
    (*LITE, {"quantize": "int8"}, "^int8 needs images to calibrate on; pass calibration data"),
]


@pytest.mark.parametrize(("path", "format", "options", "message"), WRONG)
def test_wrong_requests_are_refused(path, format, options, message):
    with pytest.raises(ValueError, match=message):
        check_request(path, format, options, images=())


def test_good_requests_pass(tmp_path):
    for format, row in formats.FORMATS.items():
        defaults = row.all_options({})
        check_request(str(tmp_path / f"new{row.suffix}"), format, defaults, images=())
        check_request(str(tmp_path / f"new{row.suffix}"), format, {}, images=())
    check_request(*LITE, {"quantize": "int8"}, images=["an image"])
    (tmp_path / "old").mkdir()
    check_request(str(tmp_path / "old"), "saved_model", {}, images=())  # empty
    (tmp_path / "old" / "saved_model.pb").touch()
    check_request(str(tmp_path / "old"), "saved_model", {}, images=())  # another version


def test_other_directories_and_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis"):
        with pytest.raises(ValueError, match="already exists and is not a SavedModel; choose"):
            check_request(str(path), "saved_model", {}, images=())
    (tmp_path / "x.tflite").mkdir()
    with pytest.raises(ValueError, match="is a folder; pass the path of a file"):
        check_request(str(tmp_path / "x.tflite"), "tflite", {}, images=())


@pytest.mark.parametrize("name", ["a [1]", "[x]/1", "a\\b"])
def test_a_path_that_tensorflow_reads_as_a_pattern_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="no SavedModel from .* path without brackets"):
        check_request(str(tmp_path / name), "saved_model", {}, images=())
    check_request(str(tmp_path / f"{name}.onnx"), "onnx", {}, images=())
    for harmless in ("a[b", "a]b", "a*b", "a?b", "é @ #~ {b}"):  # TensorFlow loads from all of them
        check_request(str(tmp_path / harmless), "saved_model", {}, images=())


def test_a_fourth_format_needs_one_row(monkeypatch, tmp_path):
    row = Format(
        name="table",
        title="table",
        keras_name="csv",
        module="tables",
        marker="table.csv",
        options={"columns": Option(("few", "many", "all"), "how many"), "quantize": INT4},
        tolerances={"many": Tolerance(0.5, 0.1, 0.9), "int4": Tolerance(0.4, 0.2, 0.8)},
        calibrated=("all",),
    )
    monkeypatch.setitem(formats.FORMATS, "table", row)
    check_request("x", "table", {"columns": "many"}, images=())
    with pytest.raises(ValueError, match=r"^weights is an option of saved_model, not of table\.$"):
        check_request("x", "table", {"weights": "variables"}, images=())
    with pytest.raises(ValueError, match=r"an option of tflite, table, not of saved_model\.$"):
        check_request("x", "saved_model", {"quantize": "int4"}, images=())
    with pytest.raises(ValueError, match="^quantize 'int8' is unknown; .* choose one of int4"):
        check_request("x", "table", {"quantize": "int8"}, images=())
    with pytest.raises(ValueError, match="^all needs images to calibrate on; pass calibration"):
        check_request("x", "table", {"columns": "all"}, images=())
    assert row.all_options({"columns": "all"}) == {"columns": "all", "quantize": "int4"}
    assert row.tolerance({"columns": "many"}).iou == 0.5
    assert row.tolerance({"columns": "few"}) == EXACT
    (tmp_path / "table.csv").touch()
    check_request(str(tmp_path), "table", {}, images=())
    assert formats.find_format(str(tmp_path)) is row
    assert formats.find_format(str(tmp_path / "table.csv")) is None
    with pytest.raises(ValueError, match="already exists and is not a SavedModel"):
        check_request(str(tmp_path), "saved_model", {}, images=())


def test_missing_packages_are_named_at_once(monkeypatch):
    row = Format("table", "table", "csv", "tables", packages=("numpy", "tablewriter", "tables2"))
    monkeypatch.setitem(formats.FORMATS, "table", row)
    message = (
        r"^the format table needs the package tablewriter, which is not installed or does not "
        r"load; run: pip install 'ssd_keras\[table\]'$"
    )
    with pytest.raises(ImportError, match=message):
        check_request("x", "table", {}, images=())
    with pytest.raises(ImportError, match=message):
        print(row.functions)


def test_packages_of_a_format_are_an_extra():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    extras = config["options.extras_require"]
    rows = [row for row in formats.FORMATS.values() if row.packages]
    assert rows
    for row in rows:
        assert re.findall(r"^[\w-]+", extras[row.extra or row.name], re.MULTILINE) == list(
            row.packages
        )


def test_flags_are_those_of_the_rows(monkeypatch):
    options = {"quantize": INT4, "opset": Option(("18", "17"), "ONNX's version")}
    row = Format("table", "table", "csv", "tables", options=options)
    monkeypatch.setitem(formats.FORMATS, "table", row)
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    words = ["model", "--format", "table", "--output", "x", "--quantize", "int4", "--opset", "17"]
    given = vars(parser.parse_args(words))
    assert (given["quantize"], given["opset"], given["post_processing"]) == ("int4", "17", None)
    text = " ".join(parser.format_help().split())
    assert "options of tflite, table: --quantize {none,float16,dynamic,int8,int4} tflite: " in text
    assert "calibration data; table: four bits" in text
    assert "options of tflite: --post-processing {builtin,op,none} how boxes are chosen" in text


def test_info_lists_formats_and_options(capsys):
    assert cli.main(["info", "formats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "saved_model (SavedModel, Keras' 'tf_saved_model'): a folder"
    assert "onnx (ONNX, Keras' 'onnx'): a file ending in .onnx" in lines
    assert "  input_dtype: type of the image's pixels, 0..255: uint8 (default) or float32" in lines


@pytest.mark.parametrize("name", formats.FORMATS)
def test_modules_have_the_functions(name):
    row = formats.FORMATS[name]
    wanted = {k: v for k, v in vars(FormatModule).items() if inspect.isfunction(v) and k[0] != "_"}
    assert len(wanted) == 5
    for function, pattern in wanted.items():
        found = inspect.signature(getattr(row.functions, function)).parameters
        assert list(found) == list(inspect.signature(pattern).parameters)[1:], function
