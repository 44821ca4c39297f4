"""Requests for exports: the paths and options that are refused, and how."""

import pytest

from ssd_keras.exporters import formats
from ssd_keras.exporters.formats import Format, check_request

SAVED, LITE = ("served/1", "saved_model"), ("x.tflite", "tflite")
WRONG = [
    ("x.tflite", "onnx", {}, r"^format='onnx' is unknown; choose one of saved_model, tflite\.$"),
    (
        "x",
        "tflite",
        {},
        "^output 'x' does not fit the format tflite; pass a file ending in .tflite",
    ),
    ("x.tflite", "saved_model", {}, "does not fit the format saved_model; pass a directory"),
    (*SAVED, {"nms": "op"}, "^option 'nms' is unknown; choose from post_process, images, precisi"),
    (*SAVED, {"quantize": "int8"}, r"^quantize is an option of tflite, not of saved_model\.$"),
    (*LITE, {"precision": "half"}, r"^precision is an option of saved_model, not of tflite\.$"),
    (
        *SAVED,
        {"precision": "half"},
        "^precision='half' is unknown; choose one of float32, bfloat16",
    ),
    (*SAVED, {"weights": "frozen"}, "^weights='frozen' is unknown; choose one of constants, "),
    (*LITE, {"quantize": "int4"}, "^quantize='int4' is unknown; choose one of none, float16"),
    (*LITE, {"post_processing": "nms"}, "^post_processing='nms' is unknown; choose one of builtin"),
    (
        *LITE,
        {"input_dtype": "int8"},
        "^input_dtype='int8' is unknown; choose one of uint8, float32",
    ),
    (*LITE, {"quantize": "int8"}, "^int8 needs images to calibrate on; pass calibration data"),
]


@pytest.mark.parametrize(("path", "format", "options", "message"), WRONG)
def test_wrong_requests_are_refused(path, format, options, message):
    with pytest.raises(ValueError, match=message):
        check_request(path, format, options, images=())


def test_good_requests_pass(tmp_path):
    for format, row in formats.FORMATS.items():
        defaults = {name: choices[0] for name, choices in row.options.items()}
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
    with pytest.raises(ValueError, match="is a directory; pass the path of a file"):
        check_request(str(tmp_path / "x.tflite"), "tflite", {}, images=())


def test_a_third_format_needs_one_row(monkeypatch):
    row = Format("onnx", "onnx", ".onnx", {"opset": ("18", "17")})
    monkeypatch.setitem(formats.FORMATS, "onnx", row)
    check_request("x.onnx", "onnx", {"opset": "17"}, images=())
    with pytest.raises(ValueError, match=r"^quantize is an option of tflite, not of onnx\.$"):
        check_request("x.onnx", "onnx", {"quantize": "int8"}, images=())
    with pytest.raises(
        ValueError, match="does not fit the format onnx; pass a file ending in .onnx"
    ):
        check_request("x.tflite", "onnx", {}, images=())
