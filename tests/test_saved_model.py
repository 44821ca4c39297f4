"""SavedModels: the signatures against Keras, bad neighbours, and loaders that are not ours."""

import functools
import io
import os
import subprocess
import sys
import tempfile

import exports
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ssd_keras import DetectionSettings
from ssd_keras.engine.detector import KerasDetector, detect_pictures
from ssd_keras.serving.saved_model import write_saved_model

SETTINGS = DetectionSettings(0.02, 0.4, 60, 25, clip_boxes=True)
NAMES = ["red", "green", "blue"]
PAIRS = [
    ("detection_boxes", "boxes"),
    ("detection_scores", "scores"),
    ("detection_classes", "labels"),
    ("num_detections", "num_detections"),
]


@functools.cache
def small_model():
    return exports.lively_model(class_names=NAMES, image_size=(64, 96), width=4)


@functools.cache
def directory():
    folder = tempfile.TemporaryDirectory()
    directory.folder = folder  # lives as long as this function
    path = os.path.join(folder.name, "1")
    write_saved_model(small_model(), path, SETTINGS)
    return path


@functools.cache
def loaded():
    return tf.saved_model.load(directory())


def call(signature, **inputs):
    outputs = loaded().signatures[signature](**inputs)
    return {name: value.numpy() for name, value in outputs.items()}


def keras_detections(pictures):
    return detect_pictures(KerasDetector(small_model(), SETTINGS), pictures)


def example_of(data):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
    features = tf.train.Features(feature={"image/encoded": feature})
    return tf.train.Example(features=features).SerializeToString()


def assert_equal(found, expected):
    for ours, theirs in PAIRS:
        np.testing.assert_allclose(found[ours], expected[theirs], atol=1e-5)
    for row, count in enumerate(expected["num_detections"]):
        labels = expected["labels"][row][:count]
        texts = [NAMES[label].encode() for label in labels] + [b""] * (25 - count)
        assert found["detection_class_names"][row].tolist() == texts


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_and_examples_give_what_keras_gives(count):
    pictures = exports.pictures()[:count]
    expected = keras_detections(pictures)
    assert (expected["num_detections"] > 3).all()
    encoded = [exports.encoded(picture) for picture in pictures]
    found = call("serving_default", image_bytes=tf.constant(encoded))
    assert_equal(found, expected)
    assert found["image_is_valid"].tolist() == [True] * count
    assert found["detection_classes"].dtype == np.int32
    examples = tf.constant([example_of(data) for data in encoded])
    assert_equal(call("tf_example", examples=examples), expected)


def test_pixels_give_what_keras_gives():
    for picture in exports.pictures()[:2]:
        pictures = np.stack([picture, picture[::-1]])
        assert_equal(call("image_tensor", images=tf.constant(pictures)), keras_detections(pictures))


def test_a_turned_jpeg_gives_the_boxes_of_the_upright_picture():
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned a quarter clockwise
    data = exports.encoded(exports.pictures()[0], "JPEG", exif=tags, quality=95)
    stored = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
    expected = keras_detections([np.rot90(stored, -1)])
    assert_equal(call("serving_default", image_bytes=tf.constant([data])), expected)


GOOD = exports.encoded(exports.pictures()[0])
GREY16 = (np.linspace(0, 65535, 40 * 50).reshape(40, 50)).astype("uint16")


def cmyk():
    file = io.BytesIO()
    Image.fromarray(exports.pictures()[0]).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty bytes": b"",
    "text": b"this is no picture",
    "JPEG cut in half": exports.encoded(exports.pictures()[0], "JPEG")[:1500],
    "PNG cut in half": GOOD[: len(GOOD) // 2],
    "damaged PNG": GOOD[:60] + b"\0" * 40 + GOOD[100:],
}
ODD = {
    "1x1": exports.encoded(np.full((1, 1, 3), 99, "uint8")),
    "16-bit PNG": exports.encoded(GREY16),
    "grey JPEG": exports.encoded(exports.pictures()[0][:, :, 0], "JPEG"),
    "CMYK JPEG": cmyk(),
    "GIF": exports.encoded(exports.pictures()[0], "GIF"),
    "5000x5000": exports.encoded(np.zeros((5000, 5000, 3), "uint8")),
}


@pytest.mark.parametrize("signature", ["serving_default", "tf_example"])
@pytest.mark.parametrize("name", [*BAD, *ODD, "broken example"])
def test_a_bad_picture_does_no_harm_to_its_neighbours(name, signature):
    wrap = example_of if signature == "tf_example" else bytes
    bad = b"\xff\xff no record" if name == "broken example" else wrap((BAD | ODD)[name])
    batch = tf.constant([wrap(GOOD), bad, wrap(GOOD)])
    argument = "examples" if signature == "tf_example" else "image_bytes"
    found = call(signature, **{argument: batch})
    assert found["image_is_valid"].tolist() == [True, name in ODD, True]
    expected = keras_detections([exports.pictures()[0]])
    for row in (0, 2):
        assert_equal({key: value[row : row + 1] for key, value in found.items()}, expected)
    if name not in ODD:
        assert found["num_detections"][1] == 0
        assert not found["detection_scores"][1].any() and not found["detection_boxes"][1].any()
        assert set(found["detection_class_names"][1]) == {b""}


def test_no_picture_and_pictures_of_no_size():
    for name, inputs in {
        "serving_default": {"image_bytes": tf.zeros([0], tf.string)},
        "tf_example": {"examples": tf.zeros([0], tf.string)},
        "image_tensor": {"images": tf.zeros([0, 30, 40, 3], tf.uint8)},
    }.items():
        found = call(name, **inputs)
        assert found["detection_boxes"].shape == (0, 25, 4), name
        assert found["num_detections"].shape == (0,), name
    found = call("image_tensor", images=tf.zeros([2, 0, 5, 3], tf.uint8))
    assert found["image_is_valid"].tolist() == [False, False]
    assert found["num_detections"].tolist() == [0, 0]


def test_floats_are_refused_where_bytes_are_expected():
    with pytest.raises(
        (TypeError, ValueError, tf.errors.InvalidArgumentError), match="uint8|float"
    ):
        call("image_tensor", images=tf.zeros([1, 8, 8, 3]))


def test_labels_and_replayed_warm_up_requests():
    with open(os.path.join(directory(), "assets", "labels.txt"), encoding="utf-8") as file:
        assert file.read().splitlines() == NAMES
    path = os.path.join(directory(), "assets.extra", "tf_serving_warmup_requests")
    asked = set()
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        asked.add(request.model_spec.signature_name)
        inputs = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in call(request.model_spec.signature_name, **inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        again = predict_pb2.PredictResponse.FromString(response.SerializeToString())
        assert tf.make_ndarray(again.outputs["image_is_valid"]).tolist() == [True]
        assert tf.make_ndarray(again.outputs["detection_boxes"]).shape == (1, 25, 4)
    assert asked == {"serving_default", "image_tensor", "tf_example"}


def test_the_loader_of_tf_serving_runs_it():
    expected = keras_detections([exports.pictures()[0]])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
        meta = tf.compat.v1.saved_model.load(session, ["serve"], directory())
        signature = meta.signature_def["serving_default"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        found = session.run(outputs, {signature.inputs["image_bytes"].name: [GOOD]})
    assert_equal(found, expected)


ALONE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ssd_keras":
            raise ImportError("blocked " + name)
sys.meta_path.insert(0, Blocker())
try:
    import ssd_keras
    sys.exit("not blocked")
except ImportError as error:
    assert "blocked" in str(error)
import tensorflow as tf
detect = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
with open(sys.argv[2], "rb") as file:
    print("found", int(detect(image_bytes=tf.constant([file.read()]))["num_detections"][0]))
"""


def test_a_process_without_this_package_runs_it(tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(GOOD)
    command = [sys.executable, "-c", ALONE, directory(), str(picture)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = keras_detections([exports.pictures()[0]])["num_detections"][0]
    assert process.stdout.split() == ["found", str(expected)], process.stderr[-500:]


def test_every_operator_is_one_of_tensorflow():
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(directory(), "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    (meta,) = saved.meta_graphs
    nodes = list(meta.graph_def.node)
    functions = {function.signature.name for function in meta.graph_def.library.function}
    for function in meta.graph_def.library.function:
        nodes += function.node_def
    known = set(dir(tf.raw_ops))
    internal = {"_Arg", "_Retval"}
    foreign = {node.op for node in nodes} - known - functions - internal
    assert not foreign and not {node.op for node in nodes} & {"PyFunc", "EagerPyFunc"}
