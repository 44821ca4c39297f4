"""Graphs of the Object Detection API: against the API's own outputs, and the graphs' own."""

import functools
import json
import re
import shutil
import tarfile

import keras
import numpy as np
import pytest
from frozen_graphs import FrozenGraph
from PIL import Image

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.importers.object_detection_api.graph import Graph
from ssd_keras.importers.object_detection_api.graph_anchors import (
    Anchors,
    boxes_of_anchors,
    boxes_of_rule,
)
from ssd_keras.importers.object_detection_api.sources import find_source
from ssd_keras.models.heads import SharedHead, SSDHead

FOLDER = "object_detection_api"
TFLITE = {
    "ssd_mobilenet_v2_fpnlite_320": (SharedHead, 320, 320),
    "ssd_mobilenet_v2_300": (SSDHead, 300, 300),
    "ssdlite_mobilenet_v2_softmax": (SSDHead, 320, 320),
    "ssd_mobilenet_v1_fpn": (SharedHead, 256, 320),
}
HANDS = ("open", "closed", "pinch", "point", "face", "pointtip", "pinchtip")


def as_array(x):
    return keras.ops.convert_to_numpy(x)


def raw_outputs(model, preprocessed):
    """Outputs for an image that is resized and normalised already."""
    network = keras.Model(model.get_layer("preprocessor").output, model.output)
    return {name: as_array(x)[0] for name, x in network(preprocessed[None]).items()}


def detections(model, outputs):
    found = model.post_process({name: x[None] for name, x in outputs.items()})
    return {name: as_array(x)[0] for name, x in found.items()}


def assert_near(found, expected, share=3e-4):
    """Every number is within a share of the span of those expected."""
    assert found.shape == expected.shape and np.ptp(expected) > 1
    assert np.abs(found - expected).max() <= share * np.ptp(expected)


def assert_one_to_one(found, boxes, labels, scores, tolerance=5e-4):
    """Each expected detection is another one of those found."""
    left = list(range(int(found["num_detections"])))
    assert len(left) == len(boxes)
    for box, label, score in zip(boxes, labels, scores, strict=True):
        difference = [
            max(np.abs(found["boxes"][i] - box).max(), abs(found["scores"][i] - score))
            + (found["labels"][i] != label)
            for i in left
        ]
        assert min(difference) <= tolerance
        left.pop(int(np.argmin(difference)))


@functools.cache
def imported(shared, name):
    folder = shared / FOLDER / name
    path = folder / "int8" if name.startswith("handtrack") else folder / "detect.tflite"
    labels = None
    if name.startswith("handtrack"):
        labels = labels_file("\n".join(HANDS))
    return import_object_detection_api(str(path), labels)


@functools.cache
def labels_file(text):
    import os
    import tempfile

    path = os.path.join(tempfile.mkdtemp(), "labels.txt")
    with open(path, "w") as file:
        file.write(text)
    return path


@functools.cache
def gold(shared, name):
    with np.load(shared / FOLDER / name / "gold.npz") as archive:
        return dict(archive)


# TFLite files


@pytest.mark.parametrize("name", TFLITE)
@pytest.mark.parametrize("picture", [1, 2])
def test_tflite_files_are_the_apis_networks(shared, name, picture):
    model, expected = imported(shared, name), gold(shared, name)
    head, *size = TFLITE[name]
    assert isinstance(model.head, head) and model.image_size == tuple(size)
    np.testing.assert_allclose(model.default_box_array, expected["anchors"], atol=1e-6)
    outputs = raw_outputs(model, expected[f"preprocessed_{picture}"])
    assert_near(outputs["box_deltas"], expected[f"box_encodings_{picture}"])
    assert_near(outputs["class_logits"], expected[f"class_logits_{picture}"])
    scores, boxes, count, labels = (expected[f"tflite_output_{i}_{picture}"] for i in range(4))
    assert count == 100
    assert_one_to_one(detections(model, outputs), boxes, labels, scores)


def test_shared_weights_come_back_from_folded_levels(shared):
    model = imported(shared, "ssd_mobilenet_v2_fpnlite_320")
    assert model.head == SharedHead(
        32, 4, 3, True, model.head.style, prior_probability=None, has_map_kernels=False
    )
    assert model.head.style.batch_norm and model.head.style.separable
    # 4 layers of a 3x3 depthwise and a 1x1 kernel, once for all levels.
    kernels = [x.shape for x in model.weights if x.path.startswith("tower") and "kernel" in x.path]
    assert len(kernels) == 8 and set(kernels) == {(3, 3, 32, 1), (1, 1, 32, 32)}
    assert model.class_names == ("alpha", "beta", "gamma")  # of label_map.pbtxt


# SavedModel


@pytest.fixture(scope="module")
def saved_model(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    path = shared / FOLDER / "ssd_mobilenet_v2_fpnlite_320"
    with tarfile.open(path / "saved_model.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    shutil.copy(path / "label_map.pbtxt", folder)
    return folder


@pytest.fixture(scope="module")
def from_saved_model(saved_model):
    return import_object_detection_api(str(saved_model))


@pytest.mark.parametrize("picture", [1, 2])
def test_saved_models_have_the_apis_detections(shared, from_saved_model, picture):
    model, expected = from_saved_model, gold(shared, "ssd_mobilenet_v2_fpnlite_320")
    np.testing.assert_allclose(model.default_box_array, expected["anchors"], atol=1e-6)
    outputs = raw_outputs(model, expected[f"preprocessed_{picture}"])
    assert_near(outputs["box_deltas"], expected[f"box_encodings_{picture}"])
    assert_near(outputs["class_logits"], expected[f"class_logits_{picture}"])
    names = ("boxes", "classes", "scores")
    theirs = [expected[f"saved_model_detection_{name}_{picture}"] for name in names]
    theirs[1] = theirs[1] - 1
    assert_one_to_one(detections(model, outputs), *theirs)
    settings = model.post_process
    assert (settings.score_threshold, settings.iou_threshold) == (1e-8, 0.6)
    assert (settings.max_detections_per_class, settings.clip_boxes) == (100, "after")


@pytest.mark.slow
def test_an_imported_graph_comes_back_from_its_file(shared, from_saved_model, tmp_path):
    path = str(tmp_path / "model.keras")
    for model in (from_saved_model, imported(shared, "handtrack_ssd320fpnlite")):
        model.save(path)
        again = keras.models.load_model(path)
        assert again.head == model.head and again.post_process == model.post_process
        image = np.random.default_rng(0).uniform(0, 255, (1, 320, 320, 3)).astype("float32")
        for name, values in model(image).items():
            np.testing.assert_array_equal(as_array(again(image)[name]), as_array(values))


# tf.js


def test_bytes_of_a_tfjs_graph_give_weights_by_level(shared):
    name = "handtrack_ssd320fpnlite"
    model, expected = imported(shared, name), gold(shared, name)
    assert model.class_names == HANDS and model.head.has_map_kernels
    # The file's anchors are rounded: ours are the rule's.
    assert model.default_boxes == DefaultBoxes.octaves((320, 320))
    assert model.preprocessor["mean"] == (127.5, 127.5, 127.5)
    assert model.preprocessor["scale"] == pytest.approx(2 / 255, rel=1e-6)
    outputs = raw_outputs(model, preprocessed(shared, 320))
    assert_near(outputs["box_deltas"], expected["box_encodings"])
    assert_near(outputs["class_logits"], expected["class_logits"])
    found = detections(model, outputs)
    assert found["labels"][0] == HANDS.index("face") == round(expected["detection_classes"][0]) - 1
    assert found["scores"][0] == pytest.approx(expected["detection_scores"][0], abs=1e-5)
    # The rule's anchors differ from the rounded ones by up to 0.006.
    np.testing.assert_allclose(found["boxes"][0], expected["detection_boxes"][0], atol=6e-3)


def preprocessed(shared, size):
    import tensorflow as tf

    image = photo(shared).astype("float32")[None]
    resized = tf.compat.v1.image.resize_bilinear(image, (size, size))
    return resized.numpy()[0] * np.float32(2 / 255) - 1


@functools.cache
def photo(shared):
    return np.asarray(Image.open(shared / "data/photos/grace_hopper.bmp").convert("RGB"))


# Frozen graphs


@functools.cache
def frozen(shared, **options):
    with np.load(shared / FOLDER / "pedestrian_ssdlite_mobilenet_v2/weights.npz") as archive:
        return FrozenGraph(dict(archive), **options)


@pytest.fixture(scope="module")
def pedestrian_file(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "labels.txt").write_text("person\n")
    path = folder / "frozen_inference_graph.pb"
    path.write_bytes(frozen(shared).definition.SerializeToString())
    return path


@pytest.fixture(scope="module")
def pedestrian(pedestrian_file):
    labels = pedestrian_file.with_name("labels.txt")
    return import_object_detection_api(str(pedestrian_file.parent), str(labels))


def test_a_frozen_graph_is_the_published_detector(shared, pedestrian):
    expected = gold(shared, "pedestrian_ssdlite_mobilenet_v2")
    codes, boxes, scores = frozen(shared).run(photo(shared), "Squeeze:0", "boxes_0:0", "scores_0:0")
    # The graph that is built here is the published one.
    np.testing.assert_allclose(codes[0], expected["box_encodings"], atol=1e-5)
    outputs = raw_outputs(pedestrian, preprocessed(shared, 300))
    assert_near(outputs["box_deltas"], expected["box_encodings"], 1e-6)
    assert_near(outputs["class_logits"], expected["class_logits"], 1e-6)
    np.testing.assert_allclose(pedestrian.default_box_array, expected["anchors"], atol=1e-6)
    found = detections(pedestrian, outputs)
    assert_one_to_one(found, boxes.clip(0, 1), np.zeros(100), scores, 1e-5)
    assert_one_to_one(
        found, expected["detection_boxes"], np.zeros(100), expected["detection_scores"], 1e-5
    )
    # Batch normalisation is still there, and can be trained.
    norms = [x for x in pedestrian.backbone.layers if x.name.endswith("_bn")]
    assert len(norms) == 52 + 12 and norms[0].epsilon == 0.001


@pytest.mark.slow
def test_boxes_and_scales_are_those_of_the_graph(shared, tmp_path):
    """Old graphs have the interpolated box second; a coder may have any scales."""
    graph = frozen(shared, interpolated_second=True, scales=(8.0, 4.0, 2.5, 5.0))
    path = tmp_path / "old.pb"
    path.write_bytes(graph.definition.SerializeToString())
    model = import_object_detection_api(str(path), labels_file("person"))
    assert model.default_boxes.variances == (0.125, 0.25, 0.4, 0.2)
    (anchors,) = graph.run(photo(shared), "Concatenate/concat:0")
    np.testing.assert_allclose(model.default_box_array, anchors, atol=1e-6)
    # Of the second map: the square of scale .35, then that of the mean of .35 and .5.
    sides = [300 * 0.35, 300 * (0.35 * 0.5) ** 0.5]
    np.testing.assert_allclose(model.default_boxes.shapes[1][:2], [[s, s] for s in sides])
    outputs = raw_outputs(model, preprocessed(shared, 300))
    boxes, scores = graph.run(photo(shared), "boxes_0:0", "scores_0:0")
    found = detections(model, outputs)
    assert found["scores"][0] == pytest.approx(scores[0], abs=1e-5)
    np.testing.assert_allclose(found["boxes"][0], boxes[0].clip(0, 1), atol=1e-5)


@pytest.mark.slow
def test_pedestrians_of_voc(shared, pedestrian):
    from ssd_keras import evaluate, load_data
    from ssd_keras.engine.detector import KerasDetector

    data = load_data(f"voc:{shared}/data/voc2012_sample@val", class_names=["person"])
    assert evaluate(KerasDetector(pedestrian), data)["voc12"]["mAP"] >= 0.8


# Anchors

ANCHORS = {
    "ssd_mobilenet_v2_300": ([(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)], 3),
    "ssd_mobilenet_v2_fpnlite_320": ([(40, 40), (20, 20), (10, 10), (5, 5), (3, 3)], 6),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_rounded_and_missing_anchors_are_those_of_the_rule(shared, name):
    expected, (grids, first) = gold(shared, name)["anchors"], ANCHORS[name]
    counts, size = [first, *[6] * (len(grids) - 1)], TFLITE[name][1:]
    graph = Graph("a.tflite", {}, {})
    rule = boxes_of_rule(graph, size, grids, counts)
    np.testing.assert_allclose(rule.boxes(size, grids), expected, atol=1e-6)
    low, high = np.split(expected, 2, axis=1)
    values = np.concatenate([(low + high) / 2, high - low], axis=1)
    step = float(np.ptp(values)) / 255
    rounded = (np.rint(values / step) * step).astype("float32")
    assert np.abs(rounded - values).max() > 0.002
    found = boxes_of_anchors(
        graph, Anchors(rounded, (0.1, 0.2, 0.3, 0.4), step), size, grids, counts
    )
    np.testing.assert_allclose(found.boxes(size, grids), expected, atol=1e-6)
    assert found.variances == (0.1, 0.2, 0.3, 0.4)
    rounded[7, 3] += 2 * step
    with pytest.raises(ValueError, match=r"anchors differ from those of the API's rules by 0\.0\d"):
        boxes_of_anchors(graph, Anchors(rounded, (0.1,) * 4, step), size, grids, counts)
    with pytest.raises(ValueError, match=r"\[5, 5\] boxes per cell are those of no rule"):
        boxes_of_rule(graph, size, grids[:2], [5, 5])


def test_the_command_reads_a_folder(shared, pedestrian, pedestrian_file, tmp_path, capsys):
    from ssd_keras import cli

    output, labels = str(tmp_path / "person.keras"), tmp_path / "label_map.pbtxt"
    labels.write_text("item { id: 1 name: 'person' }")
    source = str(pedestrian_file.parent)
    words = ["import", "object-detection-api", source, "--labels", str(labels)]
    assert cli.main([*words, "--output", output]) == 0
    assert capsys.readouterr().out == f"wrote {output}: ssd, 1 classes\n"
    model = keras.models.load_model(output)
    assert model.class_names == ("person",) and model.origin.name == pedestrian_file.parent.name
    for ours, theirs in zip(model.get_weights(), pedestrian.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# Sources, and files that cannot be imported


def test_kinds_are_found_out(shared, saved_model, pedestrian_file, tmp_path):
    hands = shared / FOLDER / "handtrack_ssd320fpnlite/int8"
    tflite = tmp_path / "no ending"
    shutil.copy(shared / FOLDER / "ssd_mobilenet_v2_300/detect.tflite", tflite)
    graph = tmp_path / "graph.bin"
    shutil.copy(pedestrian_file, graph)
    inner = saved_model / "saved_model"
    for path, kind, found in (
        (saved_model, "saved_model", inner),
        (inner, "saved_model", inner),
        (inner / "saved_model.pb", "saved_model", inner),
        (hands, "tfjs", hands / "model.json"),
        (hands / "model.json", "tfjs", hands / "model.json"),
        (pedestrian_file.parent, "frozen_graph", pedestrian_file),
        (graph, "frozen_graph", graph),
        (tflite, "tflite", tflite),
    ):
        assert find_source(str(path)) == (kind, str(found))


def changed(definition, change):
    copy = type(definition)()
    copy.CopyFrom(definition)
    change({node.name: node for node in copy.node})
    return copy.SerializeToString()


def hostile_anchors(nodes):
    """The anchors would come from a file."""
    node = nodes["Concatenate/concat"]
    node.op = "ReadFile"
    del node.input[1:]
    node.attr.clear()


def other_coder(nodes):
    for node in nodes.values():
        if node.op == "Exp":
            node.op = "Softplus"


def other_operator(nodes):
    next(node for node in nodes.values() if node.op == "Relu6").op = "Elu"


def other_anchors(nodes):
    """One anchor of all is moved."""
    import tensorflow as tf

    values = np.linspace(0, 1, 1917 * 4, dtype="float32").reshape(-1, 4)
    node = nodes["Concatenate/concat"]
    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    node.attr["dtype"].type = tf.float32.as_datatype_enum


def no_scores(nodes):
    nodes["Postprocessor/convert_scores"].op = "Tanh"


def not_a_number(nodes):
    import tensorflow as tf

    node = nodes["FeatureExtractor/MobilenetV2/Conv/weights"]
    values = np.full((3, 3, 3, 32), np.nan, "float32")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))


def circle(nodes):
    node = nodes["FeatureExtractor/MobilenetV2/expanded_conv_2/add"]
    node.input[1] = node.name


BAD = {
    "file operator": (hostile_anchors, r"its anchors come from the operator ReadFile \('Concat"),
    "coder": (other_coder, "its boxes are not decoded as by the faster_rcnn_box_coder"),
    "operator": (other_operator, r"its network has the operator Elu \("),
    "anchors": (other_anchors, r"its anchors differ from a grid by 0\.\d+"),
    "scores": (no_scores, "0 tensors of scores and [12] of boxes join feature maps"),
    "nan": (not_a_number, "'FeatureExtractor/MobilenetV2/Conv/weights' holds infinity or NaN"),
    "circle": (circle, "its nodes form a circle"),
}


def assert_refused(path, message, labels="person"):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        import_object_detection_api(str(path), labels_file(labels))
    assert "\n" not in str(caught.value) and re.search(r"'[^']*[/.]", str(caught.value))


@pytest.mark.parametrize("name", BAD)
def test_other_graphs_are_refused(shared, name, tmp_path):
    change, message = BAD[name]
    path = tmp_path / "graph.pb"
    path.write_bytes(changed(frozen(shared).definition, change))
    assert_refused(path, message)


def test_damaged_graphs_are_refused(shared, saved_model, pedestrian_file, tmp_path):
    content = pedestrian_file.read_bytes()
    path = tmp_path / "graph.pb"
    generator = np.random.default_rng(3)
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert_refused(path, "is no frozen graph, or damaged or cut off|holds another network")
    for _ in range(5):
        noise = bytearray(content[:300000])
        for offset in generator.integers(len(noise), size=50):
            noise[offset] = generator.integers(256)
        path.write_bytes(noise)
        assert_refused(path, "is no frozen graph|holds another network|NaN")
    folder = tmp_path / "saved"
    shutil.copytree(saved_model / "saved_model", folder)
    (folder / "variables/variables.index").unlink()
    assert_refused(
        folder, r"is no SavedModel, or damaged or cut off: '.*saved_model\.pb'", "a\nb\nc"
    )
    (folder / "saved_model.pb").write_text("text")
    assert_refused(folder, "is no SavedModel, or damaged or cut off")
    assert_refused(tmp_path, "holds no network of the TF Object Detection API; expected pipeline")
    assert_refused(tmp_path / "gone", "does not exist; pass the path of a .tflite file, a frozen")
    with pytest.raises(ValueError, match="the labels have 2 names but '.*' has 1 classes"):
        import_object_detection_api(str(pedestrian_file), labels_file("a\nb\nc"[:3]))


def test_damaged_tfjs_models_are_refused(shared, tmp_path):
    folder = shared / FOLDER / "handtrack_ssd320fpnlite/int8"
    text = (folder / "model.json").read_text()
    path, shard = tmp_path / "model.json", tmp_path / "group1-shard1of1.bin"
    path.write_text(text)
    assert_refused(path, r"its weights '.*group1-shard1of1\.bin' do not exist; put all files")
    content = (folder / shard.name).read_bytes()
    shard.write_bytes(content[:-1])
    assert_refused(path, r"is no tf\.js graph model, or damaged or cut off \(")
    shard.write_bytes(content + b"0")
    assert_refused(path, r"the weight files have \d+ bytes, expected \d+")
    shard.write_bytes(content)
    model = json.loads(text)
    model["weightsManifest"][0]["paths"] = ["../group1-shard1of1.bin"]
    path.write_text(json.dumps(model))
    assert_refused(path, r"the weight file '\.\./group1-shard1of1\.bin' lies elsewhere")
    path.write_text(text[: len(text) // 2])
    assert_refused(path, r"is no tf\.js graph model, or damaged or cut off")
    path.write_text('{"format": "layers-model", "modelTopology": {"node": 3}}')
    assert_refused(path, r"is no tf\.js graph model, or damaged or cut off")
