"""The check of an export: the files that pass, and the broken files that it refuses."""

import dataclasses
import functools

import exports
import numpy as np
import pytest

from ssd_keras import PostProcess
from ssd_keras.data.images import resize_image
from ssd_keras.exporters import check
from ssd_keras.exporters.check import ExportReport, agreement, check_artefact
from ssd_keras.exporters.formats import EXACT, FORMATS
from ssd_keras.exporters.tflite import NMS_OPERATOR as NMS
from ssd_keras.exporters.tflite import OUTPUTS, tflite_model
from ssd_keras.tflite import flatbuffer
from ssd_keras.tflite.flatbuffer import schema

# Fewer detections than slots.
POST_PROCESS = PostProcess(0.7, 0.4, 100, 200)


@functools.cache
def small_model(seed=0):
    return exports.lively_model(image_size=(64, 96), width=4, seed=seed)


@functools.cache
def converted(**options):
    size = small_model().image_size
    images = [resize_image(image, size).numpy() for image in exports.images()]
    return tflite_model(small_model(), post_process=POST_PROCESS, calibration=images, **options)


def checked(content, folder, post_process=POST_PROCESS, model=None, **options):
    path = folder / "model.tflite"
    path.write_bytes(content)
    images, model = exports.images()[:2], model or small_model()
    return check_artefact(str(path), model, images, post_process, FORMATS["tflite"], options)


RAW = {"post_processing": "none", "input_dtype": "float32"}
OF_QUANTIZE = {
    "none": {},
    "float16": {"quantize": "float16"},
    "dynamic": {"quantize": "dynamic", "post_processing": "none"},
    "int8": {"quantize": "int8", "post_processing": "op"},
}


@pytest.mark.parametrize("options", [*OF_QUANTIZE.values(), {"post_processing": "op"}, RAW])
def test_good_files_pass(options, tmp_path):
    content = converted(**options)
    report = checked(content, tmp_path, **options)
    assert report.num_compared >= 20 and report.num_agreed >= 0.85 * report.num_compared
    assert report.size == len(content) and report.seconds > 0
    has_operator = options.get("post_processing") == "op"
    assert report.operators.get("TFLite_Detection_PostProcess", 0) == has_operator
    assert report.operators.get(NMS, 0) == ("post_processing" not in options)
    assert list(report.operators.values()) == sorted(report.operators.values(), reverse=True)


# What the check must refuse: each function breaks a good file.


def operator_of(model, name):
    """Returns the only operator of that name."""
    number = getattr(schema.BuiltinOperator, name)
    codes = [code.builtinCode for code in model.operatorCodes]
    (operator,) = (x for x in model.subgraphs[0].operators if codes[x.opcodeIndex] == number)
    return operator


def set_threshold(index, value):
    """Changes an input of the NMS operator: 3 is the IoU threshold, 4 the score threshold."""

    def break_model(model):
        tensor = model.subgraphs[0].tensors[operator_of(model, NMS).inputs[index]]
        assert tensor.shape is None or len(tensor.shape) == 0
        model.buffers[tensor.buffer] = flatbuffer.AlignedBuffer(np.float32(value).tobytes())

    return break_model


def give(**values):
    """Puts constants in the place of outputs; nothing uses what the graph computes."""

    def break_model(model):
        graph = model.subgraphs[0]
        outputs = dict(zip(OUTPUTS, graph.outputs, strict=True))
        for name, value in values.items():
            graph.tensors[outputs[name]].name = b"unused"
            shape = graph.tensors[outputs[name]].shape
            constant = np.full(shape, value, "float32")
            outputs[name] = flatbuffer.add_constant(model, name, constant)
        flatbuffer.set_interface(model, "images", outputs)

    return break_model


def replace_nms(model):
    """Replaces the NMS operator by its predecessor."""
    code = model.operatorCodes[operator_of(model, NMS).opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.NON_MAX_SUPPRESSION_V4


def swap_names(model):
    """Swaps the tensors of scores and classes under the names in their order."""
    boxes, classes, scores, count = model.subgraphs[0].outputs
    swapped = (boxes, scores, classes, count)
    flatbuffer.set_interface(model, "images", dict(zip(OUTPUTS, swapped, strict=True)))


def reverse_order(model):
    """Reverses the outputs under their right names."""
    outputs = dict(zip(OUTPUTS, model.subgraphs[0].outputs, strict=True))
    flatbuffer.set_interface(model, "images", {name: outputs[name] for name in reversed(OUTPUTS)})


def stretch_classes(model):
    """Multiplies the classes by nearly one, as quantisation does."""
    graph = model.subgraphs[0]
    code = flatbuffer.make(
        schema.OperatorCodeT,
        deprecatedBuiltinCode=schema.BuiltinOperator.MUL,
        builtinCode=schema.BuiltinOperator.MUL,
        version=1,
    )
    model.operatorCodes.append(code)
    factor = flatbuffer.add_constant(model, "factor", np.float32([1.0059]))
    outputs = dict(zip(OUTPUTS, graph.outputs, strict=True))
    classes = outputs["detection_classes"]
    graph.tensors.append(
        flatbuffer.make(schema.TensorT, name=b"stretched", shape=list(graph.tensors[classes].shape))
    )
    graph.operators.append(
        flatbuffer.make(
            schema.OperatorT,
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=[classes, factor],
            outputs=[len(graph.tensors) - 1],
            builtinOptionsType=schema.BuiltinOptions.MulOptions,
            builtinOptions=schema.MulOptionsT(),
        )
    )
    graph.tensors[classes].name = b"whole"
    outputs["detection_classes"] = len(graph.tensors) - 1
    flatbuffer.set_interface(model, "images", outputs)


def add_operator(name):
    """Adds an operator without inputs and outputs."""

    def break_model(model):
        number = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
        is_custom = number == schema.BuiltinOperator.CUSTOM
        model.operatorCodes.append(
            flatbuffer.make(
                schema.OperatorCodeT,
                deprecatedBuiltinCode=min(number, 127),
                builtinCode=number,
                customCode=name.encode() if is_custom else None,
            )
        )
        operator = flatbuffer.make(
            schema.OperatorT, opcodeIndex=len(model.operatorCodes) - 1, inputs=[], outputs=[]
        )
        model.subgraphs[0].operators.append(operator)

    return break_model


def zero_weights(model):
    """Sets all weights of the network to zero."""
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and tensor.shape is not None and len(tensor.shape) == 4:
            buffer.data = np.zeros_like(buffer.data)


ZEROS = {name: 0.0 for name in OUTPUTS}
BREAKS = {
    "all zero": (give(**ZEROS), r"disagrees with the Keras model: 0 of \d+ .* expected 99.5%"),
    "no weights": (zero_weights, "disagrees with the Keras model"),
    "NMS replaced": (replace_nms, "with 0 NMS operators; its post-processing was lost"),
    "no box dropped": (set_threshold(3, 1.0), "with an IoU of .*, expected at most 0.4"),
    "the first box repeated": (set_threshold(3, 1.5), "with an IoU of 1.00, expected at"),
    "too many boxes dropped": (set_threshold(3, 0.05), "disagrees with the Keras model"),
    "low scores kept": (set_threshold(4, 0.001), "expected falling scores of 0.7 or more"),
    "high scores dropped": (set_threshold(4, 0.95), "disagrees with the Keras model"),
    "wrong positions": (reverse_order, "ends in num_detections, detection_scores, .* was lost in"),
    "wrong names": (swap_names, r"gives class 0\.\d+, expected whole numbers"),
    "classes stretched": (stretch_classes, r"gives class \d\.0\d+, expected whole numbers"),
    "one class": (give(detection_classes=3.0), "an IoU of .*; its NMS does not work"),
    "a class too many": (give(detection_classes=5.0), "gives classes outside 0..4"),
    "no numbers": (give(detection_boxes=np.nan), "gives boxes that are not finite"),
    "too many": (give(num_detections=201.0), "gives 201.0 detections, expected 0..200"),
    "no count": (give(num_detections=np.nan), "gives nan detections, expected 0..200"),
    "a variable": (add_operator("READ_VARIABLE"), "the operator READ_VARIABLE, which phones lack"),
    "a loop": (add_operator("WHILE"), "has the operator WHILE, which phones lack"),
    "Flex": (add_operator("FlexCombinedNonMaxSuppression"), "the operator FlexCombined.* phones"),
    "an unknown operator": (add_operator("Other"), r"does not run in a fresh process \(.*\)\.$"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_files_are_refused(name, tmp_path):
    break_model, message = BREAKS[name]
    model = flatbuffer.read_model(converted())
    break_model(model)
    with pytest.raises(ValueError, match=message) as error:
        checked(flatbuffer.write_model(model), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("quantize", OF_QUANTIZE)
def test_file_of_another_model_is_refused(quantize, tmp_path):
    advice = "Calibrate on images like those" if quantize == "int8" else "nothing was written"
    with pytest.raises(ValueError, match=f"disagrees with the Keras model.*{advice}"):
        options = OF_QUANTIZE[quantize]
        checked(converted(**options), tmp_path, model=small_model(seed=1), **options)


def test_raw_outputs_are_compared_too(tmp_path):
    model = flatbuffer.read_model(converted(**RAW))
    # Constant probabilities.
    graph = model.subgraphs[0]
    scores = graph.outputs[1]
    outputs = {"box_deltas": graph.outputs[0]}
    constant = np.full(graph.tensors[scores].shape, 0.15, "float32")
    graph.tensors[scores].name = b"unused"
    outputs["class_scores"] = flatbuffer.add_constant(model, "class_scores", constant)
    flatbuffer.set_interface(model, "images", outputs)
    # LiteRT 2.0 crashes on an output that is a constant.
    message = r"disagrees with the Keras model|process \(the runtime crashes with signal 6\)"
    with pytest.raises(ValueError, match=message):
        checked(flatbuffer.write_model(model), tmp_path)


def test_nothing_to_compare_is_an_error(tmp_path):
    model = flatbuffer.read_model(converted())
    set_threshold(4, 1.0)(model)
    post_process = dataclasses.replace(POST_PROCESS, score_threshold=1.0)
    with pytest.raises(ValueError, match="has nothing to compare: Keras detects nothing in its"):
        checked(flatbuffer.write_model(model), tmp_path, post_process)


def detections(*rows):
    """Returns rows of box, score, label as arrays."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [])
    return {
        "boxes": np.float32(boxes).reshape(-1, 4),
        "scores": np.float32(scores),
        "labels": np.array(labels, "int32"),
    }


BOX, OTHER = (0.1, 0.1, 0.5, 0.5), (0.55, 0.6, 0.95, 0.9)
TWIN = (0.1, 0.1, 0.5, 0.48)  # IoU with BOX .38 / .4 = .95
# Before NMS Keras has BOX and its TWIN alike, and OTHER of class 1.
CANDIDATES = {
    "boxes": np.float32([BOX, TWIN, OTHER]),
    "scores": np.float32([[0.8, 0.01], [0.8, 0.01], [0.02, 0.6]]),
}
REFERENCE = detections((BOX, 0.8, 0), (OTHER, 0.6, 1))
GOOD = (OTHER, 0.6, 1)
# Detections of the export, and whether Keras confirms each; then whether the export confirms each
# detection of Keras. The last of Keras is not compared with a list of the same length.
LISTS = {
    "the same": ([(BOX, 0.8, 0), GOOD], [True, True, True]),
    "the twin instead": ([(TWIN, 0.8, 0), GOOD], [True, True, True]),
    "a little off": ([((0.1, 0.1, 0.5, 0.501), 0.797, 0), GOOD], [True, True, True]),
    # .1 of .4 rows lower: IoU .3 / .5 = .6 < .98. IoU and score still confirm BOX.
    "a shifted box": ([((0.2, 0.1, 0.6, 0.5), 0.8, 0), GOOD], [False, True, True]),
    "a wrong label": ([(BOX, 0.8, 1), GOOD], [False, True, False]),
    "a low score": ([(BOX, 0.7, 0), GOOD], [False, True, False]),
    "a high score": ([(BOX, 0.9, 0), GOOD], [False, True, True]),
    "one is missing": ([(BOX, 0.8, 0)], [True, True, False]),
    "nothing is found": ([], [False, False]),
    "one too many": (
        [(BOX, 0.8, 0), GOOD, ((0.6, 0.1, 0.9, 0.4), 0.6, 0)],
        [True, True, False, True],
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_agreement_by_hand(name):
    rows, expected = LISTS[name]
    agreed = agreement(CANDIDATES, REFERENCE, detections(*rows), EXACT)
    assert agreed.tolist() == expected


def test_agreement_of_quantised_scores_and_across_classes():
    # .8 - .25 <= .6, IoU .6 >= .6: within the tolerance of int8 from
    # both sides. OTHER .35 is below half of .8.
    exported = detections(((0.199, 0.1, 0.599, 0.5), 0.6, 0), (OTHER, 0.35, 1))
    tolerances = FORMATS["tflite"].tolerances
    agreed = agreement(CANDIDATES, REFERENCE, exported, tolerances["int8"])
    assert agreed.tolist() == [True, True]
    agreed = agreement(CANDIDATES, REFERENCE, exported, tolerances["float16"])
    assert agreed.tolist() == [False] * 4
    # The TWIN of class 1 scores lower than BOX of class 0, so the operator drops it.
    rival = detections((BOX, 0.8, 0), (TWIN, 0.75, 1))
    exported = detections((BOX, 0.8, 0))
    candidates = {"boxes": CANDIDATES["boxes"], "scores": np.float32([[0.8, 0], [0, 0.75], [0, 0]])}
    assert agreement(candidates, rival, exported, EXACT).tolist() == [True, True, False]
    assert agreement(candidates, rival, exported, EXACT, True).tolist() == [True, True, True]


def test_size_and_report(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(bytes(700))
    (tmp_path / "variables" / "data").write_bytes(bytes(1300))
    assert check.artefact_size(str(tmp_path)) == 2000
    assert check.artefact_size(str(tmp_path / "saved_model.pb")) == 700
    report = ExportReport("a.tflite", 3_456_000, {"CONV_2D": 12, "ADD": 3}, 0.0036, 40, 39, 4, 0.0)
    assert str(report).splitlines() == [
        "a.tflite: 3.46 MB, 3.6 ms an image on 2 threads",
        "check on 4 images: 39 of 40 detections agree with Keras",
        "operators: CONV_2D 12, ADD 3",
    ]
    report = dataclasses.replace(report, num_images=1, floor=0.5)
    assert str(report).splitlines()[1] == (
        "check on 1 image: 39 of 40 detections agree with Keras (of scores of 50% of the best or "
        "more)"
    )
