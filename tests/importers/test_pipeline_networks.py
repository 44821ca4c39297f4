"""Networks of the TF Object Detection API from pipeline.config and checkpoint, against its gold."""

import functools
import shutil
import zlib

import numpy as np
import pytest
from keras import layers

from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.importers.object_detection_api.checkpoint import BACKBONE, ROOT, fill_network
from ssd_keras.importers.object_detection_api.network import build_network
from ssd_keras.importers.object_detection_api.pipeline_config import read_pipeline_config

FPNLITE, SIX_MAPS = "ssd_mobilenet_v2_fpnlite_320", "ssd_mobilenet_v2_300"
# Feature map sizes, classes, boxes of a cell.
NETWORKS = {
    FPNLITE: ([40, 20, 10, 5, 3], 3),
    SIX_MAPS: ([19, 10, 5, 3, 2, 1], 3),
    "ssdlite_mobilenet_v2_softmax": ([20, 10, 5, 3, 2, 1], 4),
    "ssd_mobilenet_v1_fpn": ([32, 16, 8, 4, 2], 2),
    "ssd_mobilenet_v2_fpnlite_keep_aspect": ([40, 20, 10, 5, 3], 4),
}


@pytest.fixture
def networks(shared):
    return shared / "object_detection_api"


@functools.cache
def network(folder):
    return import_object_detection_api(str(folder)), np.load(folder / "gold.npz")


def pixels(model, preprocessed):
    """The image in 0..255 that the network's preprocessing turns into the gold's."""
    scale = model.preprocessor.get("scale", 1.0)
    return (preprocessed / scale + np.array(model.preprocessor["mean"]))[None].astype("float32")


def relative_difference(found, gold):
    return np.abs(np.asarray(found) - gold).max() / (gold.max() - gold.min())


@pytest.mark.parametrize("name", NETWORKS)
def test_raw_outputs_and_default_boxes_are_the_gold(name, networks):
    model, gold = network(networks / name)
    heights, num_classes = NETWORKS[name]
    assert [height for height, _ in model.feature_sizes] == heights
    assert model.class_names == ("alpha", "beta", "gamma", "delta")[:num_classes]
    np.testing.assert_allclose(model.default_box_array, gold["anchors"], atol=1e-6)
    outputs = model(pixels(model, gold["preprocessed_1"]), training=False)
    assert relative_difference(outputs["box_deltas"][0], gold["box_encodings_1"]) < 3e-4
    assert relative_difference(outputs["class_logits"][0], gold["class_logits_1"]) < 3e-4


@pytest.mark.parametrize("picture", ["1", "2"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if "keep_aspect" not in name])
def test_detections_are_the_gold(name, picture, networks):
    model, gold = network(networks / name)
    outputs = {
        "box_deltas": gold[f"box_encodings_{picture}"][None],
        "class_logits": gold[f"class_logits_{picture}"][None],
    }
    found = {key: np.asarray(value)[0] for key, value in model.post_process(outputs).items()}
    assert found["num_detections"] == gold[f"num_detections_{picture}"] == 100
    np.testing.assert_array_equal(found["labels"], gold[f"detection_classes_{picture}"])
    np.testing.assert_allclose(found["scores"], gold[f"detection_scores_{picture}"], atol=1e-6)
    np.testing.assert_allclose(found["boxes"], gold[f"detection_boxes_{picture}"], atol=1e-6)


class Rule:
    """The weights of ssd_resnet50_v1_fpn, drawn by the rule of the folder's README."""

    path = "the rule"

    def __init__(self, folder):
        self.rows, self.statistics = {}, np.load(folder / "batch_norm_statistics.npz")
        for line in (folder / "variables.tsv").read_text().splitlines()[1:]:
            key, name, shape = line.split("\t")
            short = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
            if ROOT.match(short):
                short = BACKBONE.sub("_feature_extractor/backbone/", ROOT.sub("", short))
                self.rows[short] = (key, name, tuple(map(int, shape.split("x"))))
        self.left = set(self.rows)

    def take(self, short):
        if short not in self.rows:
            return None
        self.left.discard(short)
        key, name, shape = self.rows[short]
        if "moving_" in short:
            return self.statistics[key]
        generator = np.random.default_rng([20260, zlib.crc32(name.encode())])
        if short.endswith("gamma"):
            value = generator.uniform(0.6, 1.4, shape)
        elif short.endswith("beta"):
            value = generator.normal(0, 0.3, shape)
        elif short.endswith("bias"):
            is_predictor, is_class = "Predictor" in name, "ClassPredictor" in name
            mean = -2 if is_class else 0
            value = generator.normal(mean, 0.5, shape) if is_predictor else None
            value = generator.normal(0, 0.2, shape) if value is None else value
        else:
            value = generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
            if "_box_encoder_layers" in short:
                value /= 1.4429807663
            elif "_class_predictor_layers" in short:
                value *= 1.8 / 1.2740933895
        return value.astype("float32")

    def unused(self):
        return sorted(self.left)


@pytest.mark.slow
def test_resnet50_is_the_gold(networks):
    folder = networks / "ssd_resnet50_v1_fpn"
    gold = np.load(folder / "gold.npz")
    model = build_network(read_pipeline_config(str(folder / "pipeline.config")), ["alpha", "beta"])
    fill_network(model, Rule(folder), 2, [0, 1, 2])
    np.testing.assert_allclose(model.default_box_array, gold["anchors"], atol=1e-6)
    outputs = model(pixels(model, gold["preprocessed_1"]), training=False)
    assert relative_difference(outputs["box_deltas"][0], gold["box_encodings_1"]) < 3e-4
    assert relative_difference(outputs["class_logits"][0], gold["class_logits_1"]) < 3e-4


def test_classes_without_a_name_are_left_out(networks, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("alpha\n???\ngamma\n")
    whole, gold = network(networks / FPNLITE)
    part = import_object_detection_api(str(networks / FPNLITE), str(labels))
    image = pixels(whole, gold["preprocessed_2"])
    assert part.class_names == ("alpha", "gamma")
    logits = np.asarray(whole(image)["class_logits"])[..., [0, 1, 3]]
    np.testing.assert_allclose(part(image)["class_logits"], logits, atol=1e-5)


def test_the_model_is_saved_whole(networks, tmp_path):
    import keras

    model, gold = network(networks / FPNLITE)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.neck == model.neck and again.head == model.head
    assert again.neck[0].variant == "object_detection_api"
    assert not again.neck[0].style.norm_between
    assert again.assigner == model.assigner and again.post_process == model.post_process
    image = pixels(model, gold["preprocessed_1"])
    np.testing.assert_array_equal(again(image)["box_deltas"], model(image)["box_deltas"])


def test_a_training_s_newest_checkpoint_counts_and_its_optimizer_does_not(networks, tmp_path):
    """ckpt-3 and ckpt-12 of a training, with slots of the optimizer; 12 is the newest."""
    import tensorflow as tf

    source, folder = networks / FPNLITE, tmp_path / "training"
    folder.mkdir()
    for name in ("pipeline.config", "label_map.pbtxt"):
        shutil.copy(source / name, folder)
    reader = tf.train.load_checkpoint(str(source / "checkpoint" / "ckpt-0"))
    values = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    values.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    slots = {
        f"{key.removesuffix(suffix)}/.OPTIMIZER_SLOT/optimizer/momentum{suffix}": value
        for key, value in values.items()
        if key.endswith(("kernel" + suffix, "gamma" + suffix))
    }
    for step, factor in ((3, 2.0), (12, 1.0)):
        tensors = {key: np.asarray(value) * factor for key, value in values.items()}
        tensors |= slots | {f"optimizer/iter{suffix}": np.int64(step)}
        names = sorted(tensors)
        tf.raw_ops.SaveV2(
            prefix=str(folder / f"ckpt-{step}"),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tensors[name] for name in names],
        )
    # The state of a folder that was moved: it is not read.
    (folder / "checkpoint").write_text('model_checkpoint_path: "/gone/ckpt-3"\n')
    model, gold = network(source)
    found = import_object_detection_api(str(folder))
    image = pixels(model, gold["preprocessed_1"])
    np.testing.assert_array_equal(found(image)["class_logits"], model(image)["class_logits"])


def copied(source, folder, changes=()):
    shutil.copytree(source, folder)
    text = (folder / "pipeline.config").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "pipeline.config").write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "depth: 32",
            "depth: 48",
            r"belongs to another pipeline.config: .* has the shape \(.*32\)",
        ),
        (
            "num_classes: 3",
            "num_classes: 4",
            r"another pipeline.config: .* has the shape .*, not .*30\)",
        ),
        ("num_classes: 3", "num_classes: 2", r"name the class 3, and .* has num_classes: 2"),
        ("max_level: 7", "max_level: 6", r"another pipeline.config: '.*' is not in the network"),
        ("num_layers_before_predictor: 4", "num_layers_before_predictor: 5", r"it has no _box_pre"),
        ("SIGMOID", "IDENTITY", r"score_converter=IDENTITY; expected SIGMOID or SOFTMAX"),
        ("activation: RELU_6", "activation: SWISH", r"activation=SWISH; expected RELU or RELU_6"),
        ("use_depthwise: true", "use_shortcut: true", r"has 'use_shortcut', which cannot be impo"),
        ("faster_rcnn_box_coder", "keypoint_box_coder", r"has 'y_scale', which cannot be imported"),
        ("ssd {", "faster_rcnn {", r"describes the meta-architecture faster_rcnn; expected an SSD"),
        ("_v2_fpn_keras", "_v3_large", r"feature extractor 'ssd_mobilenet_v3_large'; expected an"),
        ("width: 320", "resize_method: AREA", r"resize_method=AREA; expected BILINEAR"),
        ("width: 320", "convert_to_grayscale: true", r"convert_to_grayscale=True; expected False"),
        (
            "max_level: 7\n        addi",
            "max_level: 4\n        addi",
            r"fpn levels 3 to 4; expected",
        ),
        ("model {", "model [", r"has no model|cannot be parsed"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(old, new, message, networks, tmp_path):
    folder = copied(networks / FPNLITE, tmp_path / "changed", [(old, new)])
    with pytest.raises(ValueError, match=message) as error:
        import_object_detection_api(folder)
    assert "\n" not in str(error.value)


def test_efficientdet_is_refused_with_the_nearest_preset(shared):
    folder = shared / "data" / "microcontrollers"
    with pytest.raises(ValueError, match=r"ssd_efficientnet-b0_bifpn_keras.*ssd_pan384_medium"):
        import_object_detection_api(str(folder))


def test_what_is_missing_or_damaged_is_one_line(networks, tmp_path):
    folder = tmp_path / "model"
    copied(networks / FPNLITE, folder)
    data = folder / "checkpoint" / "ckpt-0.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"ckpt-0' cannot be read; expected the pair"):
        import_object_detection_api(str(folder))
    shutil.copy(folder / "checkpoint" / "ckpt-0.index", folder / "ckpt-5.index")
    with pytest.raises(ValueError, match=r"has checkpoints in two places, checkpoint and \.;"):
        import_object_detection_api(str(folder))
    (folder / "ckpt-5.index").unlink()
    shutil.rmtree(folder / "checkpoint")
    with pytest.raises(FileNotFoundError, match=r"pipeline\.config and no checkpoint; expected"):
        import_object_detection_api(str(folder))
    (folder / "label_map.pbtxt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no label_map\.pbtxt; pass the label map"):
        import_object_detection_api(str(folder))
    (folder / "pipeline.config").unlink()
    with pytest.raises(ValueError, match=r"holds no network .* expected pipeline\.config with a"):
        import_object_detection_api(str(folder))
    (folder / "pipeline.config").write_text("Dear diary")
    with pytest.raises(ValueError, match=r"has no model \{ \.\.\. \}; expected a pipeline\.config"):
        import_object_detection_api(str(folder))


def test_an_inference_separable_convolution_has_one_normalisation(networks):
    model, _ = network(networks / FPNLITE)
    names = [layer.name for layer in model.layers]
    assert "fpn1_depthwise" in names and "fpn1_bn" in names and "fpn1_depthwise_bn" not in names
    assert "fpn3" not in names  # the coarsest map of the backbone is not smoothed
    assert not model.get_layer("fpn1_depthwise").use_bias
    assert isinstance(model.get_layer("fpn4_depthwise"), layers.DepthwiseConv2D)
