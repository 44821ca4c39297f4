"""TFLite files: against Keras, for every choice, as LiteRT and MediaPipe load them."""

import functools
import json

import exports
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import flexbuffers

from ssd_keras import PostProcess
from ssd_keras.core.origin import Origin
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.exporters.check import check_artefact
from ssd_keras.exporters.formats import FORMATS
from ssd_keras.exporters.network import hard_swish_in_parts, with_hard_swish_in_parts
from ssd_keras.exporters.tflite import OUTPUTS, RAW_OUTPUTS, tflite_model
from ssd_keras.models import SSD
from ssd_keras.models.post_process import class_scores
from ssd_keras.presets import PRESETS
from ssd_keras.tflite import flatbuffer
from ssd_keras.tflite.metadata import read_file, read_labels

POST_PROCESS = PostProcess(0.02, 0.4, 60, 25, clip_boxes="before")


@functools.cache
def small_model(num_classes=3):
    names = [f"class {number}" for number in range(num_classes)]
    return exports.lively_model(class_names=names, image_size=(64, 96), width=4)


@functools.cache
def calibration():
    size = small_model().image_size
    return tuple(np.rint(resize_image(image, size).numpy()) for image in exports.images())


@functools.cache
def converted(num_classes=3, **options):
    model = small_model(num_classes)
    return tflite_model(model, post_process=POST_PROCESS, calibration=calibration(), **options)


def outputs_of(content, input_image, num_threads=2):
    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    interpreter.set_tensor(image["index"], input_image[None].astype(image["dtype"]))
    interpreter.invoke()
    details = interpreter.get_output_details()
    values = {x["name"]: interpreter.get_tensor(x["index"])[0] for x in details}
    return values, image, details


def outputs_of_model(model, image):
    """Returns what the network gives for one image, without a compiled graph."""
    return {name: value.numpy()[0] for name, value in model(image[None], training=False).items()}


@functools.cache
def detector(num_classes):
    return KerasDetector(small_model(num_classes), POST_PROCESS)


def keras_detections(num_classes, image):
    detections = detector(num_classes)(image[None])
    return {name: values[0] for name, values in detections.items()}


@pytest.mark.parametrize(
    ("num_classes", "input_dtype"), [(1, "uint8"), (3, "uint8"), (3, "float32"), (90, "uint8")]
)
def test_float32_file_gives_what_keras_gives(num_classes, input_dtype):
    content = converted(num_classes, input_dtype=input_dtype)
    for input_image in calibration()[:2]:
        expected = keras_detections(num_classes, input_image)
        outputs, image, details = outputs_of(content, input_image)
        assert image["dtype"] == np.dtype(input_dtype)
        assert image["name"] == "images" and image["shape"].tolist() == [1, 64, 96, 3]
        count = int(expected["num_detections"])
        assert count > 3 and outputs["num_detections"] == count
        np.testing.assert_array_equal(outputs["detection_classes"], expected["labels"])
        np.testing.assert_allclose(outputs["detection_scores"], expected["scores"], atol=2e-5)
        np.testing.assert_allclose(outputs["detection_boxes"], expected["boxes"], atol=2e-4)
        assert not outputs["detection_boxes"][count:].any()


def test_position_index_and_name_of_outputs_agree():
    _, _, details = outputs_of(converted(), calibration()[0])
    assert [x["name"] for x in details] == list(OUTPUTS)
    indices = [x["index"] for x in details]
    assert indices == list(range(indices[0], indices[0] + 4))
    assert [x["shape"].tolist() for x in details] == [[1, 25, 4], [1, 25], [1, 25], [1]]


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_threads_change_nothing(quantize):
    content = converted(quantize=quantize)
    first, _, _ = outputs_of(content, calibration()[0], 1)
    for num_threads in (2, 3, 4):
        others, _, _ = outputs_of(content, calibration()[0], num_threads)
        for name in OUTPUTS:
            np.testing.assert_array_equal(others[name], first[name])


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8"])
def test_quantised_files_find_the_best_of_keras(quantize):
    content = converted(quantize=quantize)
    assert len(content) < 0.8 * len(converted())
    for input_image in calibration():
        expected = keras_detections(3, input_image)
        outputs, image, _ = outputs_of(content, input_image)
        assert image["dtype"] == np.uint8
        np.testing.assert_array_equal(outputs["detection_classes"] % 1, 0)
        best = expected["boxes"][0]
        is_class = outputs["detection_classes"] == expected["labels"][0]
        distance = np.abs(outputs["detection_boxes"][is_class] - best).max(axis=1)
        closest = distance.argmin()
        assert distance[closest] < 0.06
        assert outputs["detection_scores"][is_class][closest] > expected["scores"][0] - 0.2


# A byte b means (b - zero) * step, which can be the whole preprocessing; otherwise it means itself.
# Half a grey level may be rounded: 127.5 lies between two bytes.
PREPROCESSORS = {
    "half a level": ({"mean": (127.5,) * 3, "scale": [1 / 127.5]}, 1 / 127.5, {127, 128}),
    "three means": ({"mean": (123.0, 117.0, 104.0), "scale": 0.02}, 1.0, {0}),
    "three scales": ({"mean": (127.0,) * 3, "scale": [0.02, 0.02, 0.01]}, 1.0, {0}),
    "swapped": ({"mean": (127.0,) * 3, "scale": 0.02, "channel_order": "bgr"}, 1.0, {0}),
}


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_a_byte_is_one_step_of_the_int8_input(name):
    preprocessor, step, zeros = PREPROCESSORS[name]
    model = SSD.from_config({**small_model().get_config(), "preprocessor": preprocessor})
    model.set_weights(small_model().get_weights())
    input_image = calibration()[0]
    content = tflite_model(model, "int8", "none", calibration=calibration())
    outputs, image, _ = outputs_of(content, input_image)
    assert image["quantization"][0] == pytest.approx(step) and image["quantization"][1] in zeros
    deltas = outputs_of_model(model, input_image)["box_deltas"]
    assert np.corrcoef(outputs["box_deltas"].ravel(), deltas.ravel())[0, 1] > 0.99


def test_builtin_form_has_builtin_operators_and_one_nms():
    for quantize in ("none", "int8"):
        counts = flatbuffer.operator_counts(flatbuffer.read_model(converted(quantize=quantize)))
        assert counts["NON_MAX_SUPPRESSION_V5"] == 1
        assert not [name for name in counts if name.startswith("Flex") or name.islower()]
        assert "TFLite_Detection_PostProcess" not in counts


def test_hard_swish_is_in_parts_in_int8_alone():
    def swish(part):
        if part.get("class_name") == "Activation":
            part["config"]["activation"] = "hard_silu"
        return part

    config = json.dumps(small_model().get_config())
    model = SSD.from_config(json.loads(config, object_hook=swish))
    model.set_weights(small_model().get_weights())

    parts = with_hard_swish_in_parts(model)
    image = exports.images()[0][:64, :96].astype("float32")
    outputs, expected = outputs_of_model(parts, image), outputs_of_model(model, image)
    assert np.ptp(expected["class_logits"]) > 0.1
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, rtol=1e-3, atol=1e-3 * np.ptp(values))
    assert with_hard_swish_in_parts(small_model()) is small_model()

    def operators(**options):
        return flatbuffer.operator_counts(flatbuffer.read_model(tflite_model(model, **options)))

    assert operators()["HARD_SWISH"] > 5
    assert "HARD_SWISH" not in operators(quantize="int8", calibration=calibration())
    np.testing.assert_allclose(  # x (x + 3) / 6 between -3 and 3
        hard_swish_in_parts(np.float32([-4, -1, 0, 2, 5])), [0, -2 / 6, 0, 10 / 6, 5], rtol=3e-5
    )


def test_operator_form_has_the_operator_with_these_options():
    model = flatbuffer.read_model(converted(post_processing="op"))
    operator = model.subgraphs[0].operators[-1]
    assert flatbuffer.operator_counts(model)["TFLite_Detection_PostProcess"] == 1
    options = flexbuffers.Loads(bytes(operator.customOptions))
    expected = {
        "max_detections": 25, "max_classes_per_detection": 1, "num_classes": 3,
        "use_regular_nms": False, "nms_score_threshold": 0.02, "nms_iou_threshold": 0.4,
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    assert options == pytest.approx(expected, rel=1e-6)
    for name, value in {"max_detections_per_class": 3, "iou_threshold": 0.0}.items():
        with pytest.raises(ValueError, match=f"^{name}={value} has no place in the custom"):
            tflite_model(
                small_model(), post_processing="op", post_process=PostProcess(**{name: value})
            )


def test_raw_form_gives_deltas_and_probabilities():
    image = calibration()[0]
    expected = outputs_of_model(small_model(), image)
    outputs, _, details = outputs_of(converted(post_processing="none"), image)
    assert [x["name"] for x in details] == list(RAW_OUTPUTS)
    np.testing.assert_allclose(outputs["box_deltas"], expected["box_deltas"], atol=2e-4)
    exponents = np.exp(expected["class_logits"].astype("float64"))
    scores = exponents[:, 1:] / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["class_scores"], scores, atol=2e-5)


def test_every_buffer_begins_at_a_multiple_of_16():
    content = converted()
    buffers = flatbuffer.schema.Model.GetRootAs(content, 0)
    addresses = []
    for index in range(buffers.BuffersLength()):
        data = buffers.Buffers(index).DataAsNumpy()
        if isinstance(data, np.ndarray) and data.size:
            addresses.append(data.__array_interface__["data"][0])
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    assert len(addresses) > 20 and {(address - start) % 16 for address in addresses} == {0}


def test_the_same_model_gives_the_same_bytes_and_its_labels():
    assert tflite_model(small_model(), post_process=POST_PROCESS) == converted()
    assert read_labels(converted()) == ("class 0", "class 1", "class 2")


def test_the_file_holds_its_origin_and_its_licences_for_other_readers():
    content = read_file(converted(), "origin.json")
    assert Origin.from_json(content, "here") == exports.ORIGIN
    assert b"CC BY 4.0; BSD-3-Clause" in converted()  # the metadata's field license
    assert "Object detector made with ssd_keras. data: voc:Zellen µ@train".encode() in converted()


def test_calibration_images_have_the_size_of_the_model():
    with pytest.raises(ValueError, match=r"shape \(8, 9, 3\); expected \(64, 96, 3\)"):
        tflite_model(small_model(), quantize="int8", calibration=[np.zeros((8, 9, 3))])


@pytest.mark.parametrize("content", [b"", b"no flatbuffer at all"])
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match="not a TFLite file; expected one that `ssd-keras export`"):
        flatbuffer.read_model(content)


@pytest.mark.consumers
@pytest.mark.parametrize(
    "options",
    [{}, {"quantize": "int8"}, {"post_processing": "op"}, {"post_processing": "none"}],
)
def test_mediapipe_detects_what_keras_detects(options, tmp_path):
    mediapipe = pytest.importorskip("mediapipe", reason="NOT TESTED: MediaPipe is not installed")
    from mediapipe.tasks.python import BaseOptions, vision

    input_image = calibration()[1].astype("uint8")
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(**options))
    detector_options = vision.ObjectDetectorOptions(BaseOptions(str(path)), max_results=3)
    with vision.ObjectDetector.create_from_options(detector_options) as detector:
        image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(input_image))
        detections = detector.detect(image).detections
    expected = keras_detections(3, input_image.astype("float32"))
    assert len(detections) == 3
    best = detections[0]
    ymin, xmin, ymax, xmax = expected["boxes"][0] * [64, 96, 64, 96]
    box = best.bounding_box
    # MediaPipe cuts corner and size to whole pixels.
    tolerance = 4 if options.get("quantize") else 2.01
    assert best.categories[0].category_name == f"class {expected['labels'][0]}"
    assert best.categories[0].score == pytest.approx(
        expected["scores"][0], abs=0.15 if options.get("quantize") else 1e-3
    )
    edges = [box.origin_y, box.origin_x, box.origin_y + box.height, box.origin_x + box.width]
    np.testing.assert_allclose(edges, [ymin, xmin, ymax, xmax], atol=tolerance)


UNTRAINED = [name for name, preset in PRESETS.items() if preset.weights is None]


@pytest.mark.slow
@pytest.mark.parametrize("name", UNTRAINED)
def test_every_preset_agrees_with_keras(name, tmp_path):
    model = exports.lively_model(name, is_deep=True)
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_model(model))
    images = exports.images(2)
    report = check_artefact(str(path), model, images, model.post_process, FORMATS["tflite"], {})
    assert report.num_compared > 5


# Random weights add up the rounding of fifty layers; trained ones lose 0.005 AP. Correlation of
# box deltas and of scores, a little below the measured one.
DEEP = {
    "ssd300_resnet18_coco": (0.95, 0.93),
    "ssd300_resnet50_coco": (0.7, 0.5),
    "ssdlite320_mobilenet_v2_coco": (0.6, 0.4),
    "ssdlite320_mobilenet_v3_large_coco": (0.7, 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNTRAINED)
def test_every_preset_follows_keras_in_int8(name, tmp_path):
    of_deltas, of_scores = DEEP.get(name, (0.99, 0.99))
    model = exports.lively_model(name, is_deep=True)
    resized = [np.rint(resize_image(x, model.image_size).numpy()) for x in exports.images()]
    whole, _, _ = outputs_of(tflite_model(model, "int8", calibration=resized), resized[0])
    assert 0 < whole["num_detections"] <= model.post_process.max_detections
    raw = tflite_model(model, "int8", "none", calibration=resized)
    outputs, _, _ = outputs_of(raw, resized[0])
    expected = model.predict_on_batch(resized[0][None])
    deltas = expected["box_deltas"][0]
    assert np.corrcoef(outputs["box_deltas"].ravel(), deltas.ravel())[0, 1] > of_deltas
    scores = class_scores(expected["class_logits"][0]).numpy()[:, 1:]
    assert np.corrcoef(outputs["class_scores"].ravel(), scores.ravel())[0, 1] > of_scores
