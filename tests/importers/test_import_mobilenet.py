"""MobileNetV2 backbones from classifiers' `.tflite` files: against the networks they came from."""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from object_detection_api import convert

from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.importers import tflite_mobilenet_v2
from ssd_keras.importers.import_file import import_file
from ssd_keras.importers.tflite_graph import TFLiteGraph
from ssd_keras.importers.tflite_mobilenet_v2 import import_mobilenet_v2_backbone
from ssd_keras.models import MobileNetV2Options, ssdlite_mobilenet_v2
from ssd_keras.models.backbones.mobilenet import mobilenet_v2
from ssd_keras.tflite.flatbuffer import operator_name, read_model, write_model

SIDE, ALPHA = 96, 0.35
REAL = "imagenet_mobilenet_v2_quant.tflite"


@functools.cache
def classifier():
    """Keras' network with statistics of its own, and TensorFlow's conversion of it."""
    keras.utils.set_random_seed(3)
    network = keras.applications.MobileNetV2(
        (SIDE, SIDE, 3), alpha=ALPHA, weights=None, classes=7, classifier_activation=None
    )
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            # Wide enough that relu6 cuts at both ends.
            layer.set_weights(
                [
                    generator.uniform(0.5, 3.0, shape),
                    generator.normal(1.0, 1.0, shape),
                    generator.normal(0.0, 0.3, shape),
                    generator.uniform(0.2, 1.5, shape),
                ]
            )
    signature = tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32)
    return network, convert(network, signature)


@functools.cache
def imported():
    """The backbone of the classifier's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), classifier()[1])
        return import_mobilenet_v2_backbone(path, (SIDE, SIDE))


def written(tmp_path, content):
    path = tmp_path / "mobilenet.tflite"
    path.write_bytes(content)
    return str(path)


def test_backbone_has_the_features_of_its_classifier():
    network, _ = classifier()
    images = np.random.default_rng(1).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype("float32")
    names = ("block_13_expand_relu", "out_relu")
    outputs = [network.get_layer(name).output for name in names]
    expected = keras.Model(network.inputs[0], outputs)(images, training=False)
    found = imported()(images, training=False)
    for one, other in zip(map(np.asarray, found), map(np.asarray, expected), strict=True):
        assert other.std() > 0.5 and other.max() == 6.0
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_backbone_file_starts_an_ssd(tmp_path):
    _, content = classifier()
    source, output = written(tmp_path, content), str(tmp_path / "backbone.weights.h5")
    line = import_file("object-detection-api", source, output)
    assert line == f"wrote {output}: the backbone mobilenet_v2, for the argument backbone_weights"
    options = MobileNetV2Options(alpha=ALPHA, batch_norm=False, backbone_weights=output)
    model = ssdlite_mobilenet_v2((96, 128), ["cat"], options)
    direct = mobilenet_v2((96, 128), alpha=ALPHA, batch_norm=False, weights=source)
    for backbone in (model.backbone, direct):
        for one, other in zip(backbone.get_weights(), imported().get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(
        ValueError, match=r"\(its layer Conv1 is another; compare alpha, and batch_n"
    ):
        mobilenet_v2((96, 128), alpha=ALPHA, weights=source)


def test_real_backbone_knows_what_photographs_show(shared):
    path = str(shared / "weights" / REAL)
    labels = (shared / "data/photos/imagenet_labels.txt").read_text().splitlines()
    backbone = import_mobilenet_v2_backbone(path, (224, 224))
    graph = TFLiteGraph(path)
    kernel, bias = graph.weights([x for x in graph.operators if x.name == "CONV_2D"][-1])
    expected = {
        "cat.bmp": "Egyptian cat",
        "bird.bmp": "chickadee",
        "grace_hopper.bmp": "military uniform",
        "parrot.jpg": "macaw",
        "sunflower.bmp": "daisy",
    }
    for name, label in expected.items():
        image = decode_image(tf.io.read_file(str(shared / "data/photos" / name)))
        image = np.rint(resize_image(image, (224, 224)).numpy())
        features = np.asarray(backbone(image[None] / 127.5 - 1, training=False)[-1][0])
        assert labels[np.argmax(features.mean(axis=(0, 1)) @ kernel[0, 0] + bias)] == label
        # The file rounds all its maps to bytes.
        theirs = features_of_the_file(path, image)
        assert np.corrcoef(features.ravel(), theirs.ravel())[0, 1] > 0.99


def features_of_the_file(path, image):
    """What the quantised file itself has before its pooling."""
    interpreter = Interpreter(
        path,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype("uint8"))
    interpreter.invoke()
    (last,) = [
        one for one in interpreter.get_tensor_details() if tuple(one["shape"]) == (1, 7, 7, 1280)
    ]
    scale, zero = last["quantization"]
    return (interpreter.get_tensor(last["index"]).astype("float32") - zero) * scale


def changed(change):
    """The classifier's file after a change of its operators, by name in their order."""
    model = read_model(classifier()[1])
    graph = model.subgraphs[0]
    by_name = {}
    for one in graph.operators:
        by_name.setdefault(operator_name(model, one), []).append(one)
    change(by_name)
    return write_model(model)


def stride(operators):
    operators["DEPTHWISE_CONV_2D"][2].builtinOptions.strideH = 2


def activation(operators):
    operators["CONV_2D"][2].builtinOptions.fusedActivationFunction = 0


def sums(operators):
    operators["ADD"][1].inputs = operators["ADD"][0].inputs


def wires(operators):
    # The second block's projection takes the expansion instead of the depthwise map.
    first, second = operators["CONV_2D"][2], operators["CONV_2D"][3]
    second.inputs = [first.outputs[0], *second.inputs[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (stride, r"'.*' has another stride"),
        (activation, r"'.*' has another activation"),
        (sums, r"'.*' (adds other maps|takes another map)"),
        (wires, r"'.*' takes another map"),
    ],
)
def test_other_networks_are_refused(change, message, tmp_path, monkeypatch):
    # They are refused after a backbone was built: one serves them all.
    monkeypatch.setattr(tflite_mobilenet_v2, "mobilenet_v2", lambda *_, **options: imported())
    path = written(tmp_path, changed(change))
    expected = rf"mobilenet\.tflite' holds another network: {message}; expected a MobileNetV2 class"
    with pytest.raises(ValueError, match=expected):
        import_mobilenet_v2_backbone(path, (SIDE, SIDE))


def test_detector_is_no_classifier(shared):
    path = str(shared / "weights/coco_ssd_mobilenet_v1_quant.tflite")
    with pytest.raises(ValueError, match=r"another network: its first blocks have \(24, \d+\) ch"):
        import_mobilenet_v2_backbone(path, (300, 300))
