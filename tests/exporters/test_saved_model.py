"""SavedModels: the signatures against Keras, bad images in a batch, and other loaders."""

import functools
import io
import os
import subprocess
import sys
import tempfile

import exports
import numpy as np
import oracle
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ssd_keras import SSD, PostProcess
from ssd_keras.engine.detector import KerasDetector, detect_images
from ssd_keras.exporters.encoded_images import READS_WEBP
from ssd_keras.exporters.saved_model import write_saved_model

# With this high threshold some images fill all slots and some do not.
POST_PROCESS = PostProcess(0.95, 0.4, 60, 25, clip_boxes="before")
VARIANCES = (0.2, 0.1, 0.3, 0.2)
NAMES = ["red", "grün", "light blue"]
PAIRS = [
    ("detection_boxes", "boxes"),
    ("detection_scores", "scores"),
    ("detection_classes", "labels"),
    ("num_detections", "num_detections"),
]


@functools.cache
def small_model():
    model = exports.lively_model(class_names=NAMES, image_size=(64, 96), width=4)
    config = model.get_config()
    config["default_boxes"]["config"]["variances"] = VARIANCES
    other = SSD.from_config(config)
    other.set_weights(model.get_weights())
    return other


@functools.cache
def directory():
    folder = tempfile.TemporaryDirectory()
    directory.folder = folder  # keeps it until the tests end
    path = os.path.join(folder.name, "1")
    write_saved_model(small_model(), path, POST_PROCESS)
    return path


@functools.cache
def loaded():
    return tf.saved_model.load(directory())


def call(signature, **inputs):
    outputs = loaded().signatures[signature](**inputs)
    return {name: value.numpy() for name, value in outputs.items()}


def pixels_of(data):
    """Returns the pixels as Pillow decodes them, except CMYK, which Pillow rounds."""
    with Image.open(io.BytesIO(data)) as image:
        if image.mode == "CMYK":
            return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        if image.mode.startswith("I;16"):
            high = np.asarray(image) >> 8
            return np.repeat(high[:, :, None], 3, axis=-1).astype("uint8")
        return np.asarray(image.convert("RGB"))


@functools.cache
def detector():
    return KerasDetector(small_model(), POST_PROCESS)


def keras_detections(images):
    return detect_images(detector(), images)


def example_of(*images):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=images))
    features = tf.train.Features(feature={"image/encoded": feature})
    return tf.train.Example(features=features).SerializeToString()


def requests_of(data, pixels):
    """Returns the inputs of each signature for images as bytes and, of one size, as pixels."""
    return {
        "serving_default": {"image_bytes": np.array(data, object)},
        "image_tensor": {"images": np.array(pixels)},
        "tf_example": {"examples": np.array([example_of(image) for image in data], object)},
    }


def assert_equal(outputs, expected):
    assert expected["num_detections"].all()
    for output, name in PAIRS:
        np.testing.assert_allclose(outputs[output], expected[name], atol=1e-5)
    for row, count in enumerate(expected["num_detections"]):
        assert not outputs["detection_boxes"][row][count:].any()
        assert not outputs["detection_scores"][row][count:].any()
        labels = expected["labels"][row][:count]
        texts = [NAMES[label].encode() for label in labels] + [b""] * (25 - count)
        assert outputs["detection_class_names"][row].tolist() == texts


@pytest.mark.parametrize("count", [1, 3])
def test_bytes_and_examples_give_what_keras_gives(count):
    images = exports.images()[:count]
    expected = keras_detections(images)
    assert expected["num_detections"].tolist() == [13, 25, 19][:count]
    encoded = [exports.encoded(image) for image in images]
    outputs = call("serving_default", image_bytes=tf.constant(encoded))
    assert_equal(outputs, expected)
    assert outputs["image_is_valid"].tolist() == [True] * count
    assert outputs["detection_classes"].dtype == np.int32
    examples = tf.constant([example_of(data) for data in encoded])
    assert_equal(call("tf_example", examples=examples), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_pixels_give_what_keras_gives(count):
    for image in exports.images()[:2]:
        images = np.stack([image, image[::-1], image[:, ::-1]][:count])
        assert_equal(call("image_tensor", images=tf.constant(images)), keras_detections(images))


def test_a_turned_jpeg_gives_the_boxes_of_the_upright_image():
    tags = Image.Exif()
    tags[0x0112] = 6  # shown turned a quarter clockwise
    data = exports.encoded(exports.images()[0], "JPEG", exif=tags, quality=95)
    stored = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
    expected = keras_detections([np.rot90(stored, -1)])
    as_stored = call("serving_default", image_bytes=tf.constant([exports.encoded(stored)]))
    assert np.abs(as_stored["detection_boxes"] - expected["boxes"]).max() > 0.1
    assert_equal(call("serving_default", image_bytes=tf.constant([data])), expected)


GOOD = exports.encoded(exports.images()[0])
JPEG = exports.encoded(exports.images()[0], "JPEG")
GREY16 = (np.linspace(0, 65535, 40 * 50).reshape(40, 50)).astype("uint16")


def cmyk():
    file = io.BytesIO()
    Image.fromarray(exports.images()[0]).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


BAD = {
    "empty bytes": b"",
    "text": b"this is no image",
    "JPEG cut in half": JPEG[: len(JPEG) // 2],
    "JPEG without its end": JPEG[:-20],
    "JPEG of three bytes": JPEG[:3],
    "PNG cut in half": GOOD[: len(GOOD) // 2],
    "damaged PNG": GOOD[:60] + b"\0" * 40 + GOOD[100:],
    "TIFF": exports.encoded(exports.images()[0], "TIFF"),
    "more pixels than the limit": exports.encoded(np.zeros((8193, 8192), bool)),
}
ODD = {
    "1x1": exports.encoded(np.full((1, 1, 3), 99, "uint8")),
    "16-bit PNG": exports.encoded(GREY16),
    "grey JPEG": exports.encoded(exports.images()[0][:, :, 0], "JPEG"),
    "CMYK JPEG": cmyk(),
    "PNG with transparency": exports.encoded(
        np.repeat(GREY16[..., None] // 256, 4, axis=-1).astype("uint8")
    ),
    "GIF": exports.encoded(exports.images()[0], "GIF"),
    "5000x5000": exports.encoded(np.zeros((5000, 5000), "uint8"), "JPEG"),
}
(ODD if READS_WEBP else BAD)["WebP"] = exports.encoded(exports.images()[0], "WEBP")


BAD_EXAMPLES = {
    "no record": b"\xff\xff no record",
    "empty record": b"",
    "another feature": tf.train.Example(
        features=tf.train.Features(feature={"image": tf.train.Feature()})
    ).SerializeToString(),
    "two images": example_of(GOOD, GOOD),
}
CASES = [("serving_default", "image_bytes", name, data) for name, data in (BAD | ODD).items()]
CASES += [("tf_example", "examples", name, example_of(data)) for name, data in BAD.items()]
CASES += [("tf_example", "examples", name, record) for name, record in BAD_EXAMPLES.items()]


@pytest.mark.parametrize(
    ("signature", "argument", "name", "value"),
    CASES,
    ids=[f"{case[0]}-{case[2]}" for case in CASES],
)
def test_a_bad_image_leaves_the_others_of_its_batch_unharmed(signature, argument, name, value):
    good = [example_of(GOOD), example_of(JPEG)] if signature == "tf_example" else [GOOD, JPEG]
    outputs = call(signature, **{argument: tf.constant([good[0], value, good[1]])})
    assert outputs["image_is_valid"].tolist() == [True, name in ODD, True]
    others = {key: rows[::2] for key, rows in outputs.items()}
    assert_equal(others, keras_detections([exports.images()[0], pixels_of(JPEG)]))
    if name not in ODD:
        assert outputs["num_detections"][1] == 0
        assert not any(outputs[key][1].any() for key, _ in PAIRS)
        assert set(outputs["detection_class_names"][1]) == {b""}
    else:
        expected = keras_detections([pixels_of(value)])
        middle = {key: rows[1:2] for key, rows in outputs.items()}
        np.testing.assert_allclose(middle["detection_boxes"], expected["boxes"], atol=1e-5)
        np.testing.assert_allclose(middle["detection_scores"], expected["scores"], atol=1e-5)


def test_no_image_and_images_of_no_size():
    for name, inputs in {
        "serving_default": {"image_bytes": tf.zeros([0], tf.string)},
        "tf_example": {"examples": tf.zeros([0], tf.string)},
        "image_tensor": {"images": tf.zeros([0, 30, 40, 3], tf.uint8)},
    }.items():
        outputs = call(name, **inputs)
        assert outputs["detection_boxes"].shape == (0, 25, 4), name
        assert outputs["num_detections"].shape == (0,), name
    outputs = call("image_tensor", images=tf.zeros([2, 0, 5, 3], tf.uint8))
    assert outputs["image_is_valid"].tolist() == [False, False]
    assert outputs["num_detections"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        (
            "image_tensor",
            {"images": tf.zeros([1, 8, 8, 3])},
            "expected to be a uint8 tensor but is a float",
        ),
        ("image_tensor", {"images": tf.zeros([8, 8, 3], tf.uint8)}, "should be.*rank|dimension"),
        ("image_tensor", {"images": tf.zeros([1, 8, 8, 4], tf.uint8)}, "shape|dimensions"),
        ("serving_default", {"image_bytes": tf.constant(GOOD)}, "rank|shape|dimension"),
        (
            "serving_default",
            {"image_bytes": tf.zeros([1])},
            "expected to be a string tensor but is a float",
        ),
    ],
)
def test_wrong_types_and_ranks_are_refused(signature, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(signature, **inputs)


def test_labels_and_replayed_warm_up_requests():
    with open(os.path.join(directory(), "assets", "labels.txt"), encoding="utf-8") as file:
        assert file.read().splitlines() == NAMES
    path = os.path.join(directory(), "assets.extra", "tf_serving_warmup_requests")
    signatures = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        assert log.SerializeToString() == record.numpy()
        request = log.predict_log.request
        assert request.model_spec.name == small_model().name
        signatures.append(request.model_spec.signature_name)
        inputs = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in call(request.model_spec.signature_name, **inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        received = predict_pb2.PredictResponse.FromString(response.SerializeToString())
        outputs = {name: tf.make_ndarray(x) for name, x in received.outputs.items()}
        assert outputs["image_is_valid"].tolist() == [True]
        assert_equal(outputs, keras_detections([_image_of_request(inputs)]))
    assert sorted(signatures) == ["image_tensor", "serving_default", "tf_example"]


def _image_of_request(inputs):
    """Returns the pixels in a request of any signature."""
    ((name, (value,)),) = ((name, value.numpy()) for name, value in inputs.items())
    if name == "images":
        return value
    if name == "examples":
        feature = tf.train.Example.FromString(value).features.feature["image/encoded"]
        (value,) = feature.bytes_list.value
    return pixels_of(value)


# Loads the SavedModel both ways in a process without this package and without Keras.
ALONE = """
import sys
from importlib.machinery import ModuleSpec
class Blocker:
    def find_spec(self, name, path=None, target=None):
        # TensorFlow looks for Keras without importing it.
        if name.partition(".")[0] in ("ssd_keras", "keras", "tf_keras"):
            return ModuleSpec(name, self)
    def create_module(self, spec):
        raise ImportError("blocked " + spec.name)
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Blocker())
for name in ("ssd_keras", "keras"):
    try:
        __import__(name)
        sys.exit(name + " is not blocked")
    except ImportError as error:
        assert str(error) == "blocked " + name
import numpy as np
import tensorflow as tf
path, requests_file, results_file = sys.argv[1:]
requests, results = {}, {}
with np.load(requests_file, allow_pickle=True) as arrays:
    for key in arrays.files:
        signature, name = key.split("/")
        requests[signature] = {name: arrays[key]}
signatures = tf.saved_model.load(path).signatures
for signature, inputs in requests.items():
    inputs = {name: tf.constant(value.tolist(), signatures[signature].inputs[0].dtype)
              for name, value in inputs.items()}
    for name, value in signatures[signature](**inputs).items():
        results["loaded/" + signature + "/" + name] = value.numpy()
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
    for signature, inputs in requests.items():
        definition = meta.signature_def[signature]
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in definition.outputs.items()}
        for name, value in session.run(fetches, feeds).items():
            results["session/" + signature + "/" + name] = value
assert not {"ssd_keras", "keras", "tf_keras"} & {name.partition(".")[0] for name in sys.modules}
np.savez(results_file, **results)
"""


def test_a_process_without_this_package_and_keras_runs_it(tmp_path):
    requests, results = str(tmp_path / "requests.npz"), str(tmp_path / "results.npz")
    image = exports.images()[0]
    inputs = requests_of([GOOD, b"no image", GOOD], [image, image[::-1], image])
    arrays = {f"{key}/{name}": x for key, named in inputs.items() for name, x in named.items()}
    np.savez(requests, **arrays)
    command = [sys.executable, "-I", "-c", ALONE, directory(), requests, results]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-900:]
    with np.load(results, allow_pickle=True) as arrays:
        answers = dict(arrays)
    upright, mirrored = keras_detections([image]), keras_detections([image[::-1]])
    for loader in ("loaded", "session"):  # `tf.saved_model.load`, and as TF Serving does
        for signature in inputs:
            start = f"{loader}/{signature}/"
            answer = {key[len(start) :]: x for key, x in answers.items() if key.startswith(start)}
            assert len(answer) == 6
            is_encoded = signature != "image_tensor"
            assert answer["image_is_valid"].tolist() == [True, not is_encoded, True]
            for row, expected in ((0, upright), (1, mirrored), (2, upright)):
                if row == 1 and is_encoded:
                    assert answer["num_detections"][1] == 0
                else:
                    assert_equal({key: x[row : row + 1] for key, x in answer.items()}, expected)


def graph_of(path):
    """Returns all nodes of a SavedModel, and the names of its functions."""
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    (meta,) = saved.meta_graphs
    library = meta.graph_def.library.function
    nodes = [*meta.graph_def.node, *(node for function in library for node in function.node_def)]
    return nodes, {function.signature.name for function in library}


def bytes_of_kernels(path):
    """Returns the bytes of all convolution kernels that are constants."""
    constants = [node.attr["value"].tensor for node in graph_of(path)[0] if node.op == "Const"]
    return sum(len(x.tensor_content) for x in constants if len(x.tensor_shape.dim) == 4)


def test_bfloat16_network_with_float32_decoding(tmp_path):
    path = str(tmp_path / "half")
    write_saved_model(small_model(), path, POST_PROCESS, precision="bfloat16")
    dtypes = {}
    for node in graph_of(path)[0]:
        if node.attr["T"].type:
            dtypes.setdefault(node.op, set()).add(tf.as_dtype(node.attr["T"].type))
    assert dtypes["Conv2D"] == dtypes["BiasAdd"] == dtypes["Relu"] == {tf.bfloat16}
    assert dtypes["Exp"] == dtypes["Softmax"] == {tf.float32}
    assert 2 * bytes_of_kernels(path) == bytes_of_kernels(directory()) > 100_000

    detect = tf.saved_model.load(path).signatures["image_tensor"]
    differences = []
    for image in exports.images():
        plain = call("image_tensor", images=tf.constant(image[None]))
        outputs = {key: value.numpy()[0] for key, value in detect(tf.constant(image[None])).items()}
        assert abs(outputs["num_detections"] - plain["num_detections"][0]) <= 2
        for index in range(plain["num_detections"][0] - 2):  # the last may differ
            iou = [
                oracle.iou(box, plain["detection_boxes"][0, index])
                for box in outputs["detection_boxes"]
            ]
            is_class = outputs["detection_classes"] == plain["detection_classes"][0, index]
            match = np.argmax(iou * is_class)
            assert iou[match] > 0.9
            difference = outputs["detection_scores"][match] - plain["detection_scores"][0, index]
            differences.append(abs(difference))
    # Seven bits and a sign: scores differ, by less than a hundredth.
    assert len(differences) > 40 and np.mean(differences) > 1e-5 and max(differences) < 0.02


def test_every_operator_is_one_of_tensorflow():
    nodes, functions = graph_of(directory())
    operators = {node.op for node in nodes} - functions
    assert {"DecodeJpeg", "Conv2D", "CombinedNonMaxSuppression"} <= operators
    assert not [name for name in operators if op_def_registry.get(name) is None]
    assert not operators & {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    assert op_def_registry.get("EagerPyFunc") and op_def_registry.get("TFLite_Detection") is None
