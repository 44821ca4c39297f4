"""SSD on a tiny backbone: the order of its outputs, saving, training, detecting, errors."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from quick_weights import use_quick_weights

from ssd_keras.assigners import MaxIoUAssigner
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.origin import DataOrigin, Origin
from ssd_keras.losses import FocalLoss, GIoULoss, SigmoidLoss, SmoothL1Loss, SoftmaxLoss
from ssd_keras.models import (
    FPN,
    SSD,
    ConvStyle,
    ExtraLayer,
    ExtraLayers,
    SSDHead,
    VGG16Options,
    ssd_vgg16,
)
from ssd_keras.models.post_process import PostProcess
from ssd_keras.optimizers.caffe_sgd import CaffeSGD
from ssd_keras.optimizers.warm_up import WarmUp

pytestmark = pytest.mark.backends

REPOSITORY = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 64, 96
OUTPUTS = ("box_deltas", "class_logits")


def pooling_backbone(image_size=(HEIGHT, WIDTH)) -> keras.Model:
    """Maps of strides 8 and 16 whose three channels are the mean colour of each cell."""
    image = keras.Input((*image_size, 3))
    fine = layers.AveragePooling2D(8, name="fine")(image)
    return keras.Model(image, [fine, layers.AveragePooling2D(2, name="coarse")(fine)], name="pool")


def small_backbone(image_size=(HEIGHT, WIDTH)) -> keras.Model:
    image = keras.Input((*image_size, 3))
    x = layers.Conv2D(8, 3, 4, padding="same", activation="relu", name="conv1")(image)
    x = layers.Conv2D(12, 3, 2, padding="same", activation="relu", name="conv2")(x)
    return keras.Model(image, x, name="small")


RATIOS = ((2.0,), (2.0, 3.0), ())
ALL_SIZES = (10, 20, 40, 60)
BOXES = DefaultBoxes.paper(ALL_SIZES, RATIOS, offset=0.4, variances=(0.2, 0.1, 0.3, 0.4))


EXTRA = (ExtraLayer(6, 10), ExtraLayer(5, 7, kernel_size=2, padding=0))
STYLE = ConvStyle(separable=True, batch_norm=True, activation="relu6", momentum=0.8)


def arguments(**changes) -> dict:
    """Arguments of `SSD`, none of them its default."""
    return {
        "backbone": small_backbone(),
        "default_boxes": DefaultBoxes.paper((9, 25, 50), ((2.0,), (3.0,))),
        "class_names": ["cat", "dog", "cow"],
        "image_size": (HEIGHT, WIDTH),
        "neck": ExtraLayers(EXTRA, STYLE, (0, 2)),
        "head": SSDHead(STYLE, prior_probability=0.2),
        "preprocessor": {"mean": (120.0, 110.0, 100.0), "scale": 0.02, "channel_order": "bgr"},
        "assigner": MaxIoUAssigner(0.4, use_boundary_boxes=False),
        "post_process": PostProcess(0.2, 0.6, 50, 20, clip_boxes="before"),
        "display_threshold": {"cow": 0.25, "cat": 0.75},
        "name": "mine",
        **changes,
    }


def make_images(count=2, image_size=(HEIGHT, WIDTH)) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (count, *image_size, 3)).astype("float32")


def outputs_of(model, images) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(value) for name, value in model(images).items()}


def assert_same_outputs(found, expected, **tolerance):
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], **tolerance)
        assert np.ptp(expected[name]) > 0


def targets(model) -> tuple[np.ndarray, dict]:
    """Two images with one object each, and their targets."""
    encoder = model.target_encoder()
    boxes = [[[0.1, 0.2, 0.4, 0.5]], [[0.5, 0.3, 0.9, 0.7]]]
    encoded = [encoder(tf.constant(boxes[i]), tf.constant([i])) for i in range(2)]
    stacked = {name: np.stack([each[name].numpy() for each in encoded]) for name in OUTPUTS}
    return make_images(), stacked


# Order of the outputs


def coded_model(num_classes: int, feature_maps=None) -> SSD:
    """A model whose outputs say which default box they belong to.

    Deltas: map, box of the cell, and the cell's mean of the input's channels 0 and 1. Logits:
    the class's index plus 1000 times the box of the cell.
    """
    ratios = RATIOS if feature_maps is None else [RATIOS[index] for index in feature_maps]
    model = SSD(
        pooling_backbone(),
        DefaultBoxes.paper(ALL_SIZES[: len(ratios) + 1], ratios),
        [f"class {index}" for index in range(num_classes)],
        (HEIGHT, WIDTH),
        neck=ExtraLayers(
            (ExtraLayer(3, 3, kernel_size=2, strides=2, padding=0),), feature_maps=feature_maps
        ),
    )
    if feature_maps is None or 2 in feature_maps:
        mean_of_four = np.tile(np.eye(3) / 4, (2, 2, 1, 1))
        model.get_layer("extra1_1").set_weights([np.eye(3)[None, None], np.zeros(3)])
        model.get_layer("extra1_2").set_weights([mean_of_four, np.zeros(3)])
    for index, count in enumerate(model.default_boxes.boxes_per_cell):
        kernel = np.zeros((3, 3, 3, count, 4), "float32")
        kernel[1, 1, 0, :, 2] = kernel[1, 1, 1, :, 3] = 1
        bias = np.zeros((count, 4), "float32")
        bias[:, 0], bias[:, 1] = index, np.arange(count)
        model.get_layer(f"box_head{index + 1}").set_weights(
            [kernel.reshape(3, 3, 3, count * 4), bias.ravel()]
        )
        class_head = model.get_layer(f"class_head{index + 1}")
        bias = 1000 * np.arange(count)[:, None] + np.arange(1 + num_classes)
        class_head.set_weights([np.zeros(class_head.kernel.shape), bias.ravel()])
    return model


def shape_in_pixels(sizes, ratios, box) -> tuple[float, float]:
    """Height and width of a cell's box, as paper_constants' order has them."""
    shapes = [(sizes[0], sizes[0]), ((sizes[0] * sizes[1]) ** 0.5,) * 2]
    for ratio in ratios:
        wide = sizes[0] / ratio**0.5, sizes[0] * ratio**0.5
        shapes += [wide, wide[::-1]]
    return shapes[box]


@pytest.mark.parametrize(
    ("num_classes", "feature_maps", "feature_sizes"),
    [
        (1, None, ((8, 12), (4, 6), (2, 3))),
        (90, None, ((8, 12), (4, 6), (2, 3))),
        (2, (0, 2), ((8, 12), (2, 3))),
        (2, (1,), ((4, 6),)),
    ],
)
def test_outputs_have_the_order_of_the_default_boxes(num_classes, feature_maps, feature_sizes):
    model = coded_model(num_classes, feature_maps)
    ratios = RATIOS if feature_maps is None else [RATIOS[index] for index in feature_maps]
    assert model.feature_sizes == feature_sizes
    y, x = np.meshgrid(np.arange(HEIGHT) + 0.5, np.arange(WIDTH) + 0.5, indexing="ij")
    image = np.stack([y, x, np.zeros_like(y)], axis=-1).astype("float32")
    outputs = outputs_of(model, image[None])
    deltas, logits = outputs["box_deltas"][0], outputs["class_logits"][0]
    assert len(deltas) == len(logits) == len(model.default_box_array)

    edges = model.default_box_array * [HEIGHT, WIDTH, HEIGHT, WIDTH]
    np.testing.assert_allclose(deltas[:, 2:], (edges[:, :2] + edges[:, 2:]) / 2, atol=1e-3)
    shapes = [
        shape_in_pixels(ALL_SIZES[level : level + 2], ratios[level], box)
        for level, box in deltas[:, :2].round().astype(int)
    ]
    np.testing.assert_allclose(edges[:, 2:] - edges[:, :2], shapes, atol=1e-3)
    expected = 1000 * deltas[:, 1:2] + np.arange(1 + num_classes)
    np.testing.assert_array_equal(logits, expected)


# Parts


def count(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_separable_style_has_the_weights_of_ssdlite():
    model = SSD(**arguments(neck=ExtraLayers(EXTRA[:1], STYLE)))
    own = count(model.trainable_weights) - count(model.backbone.trainable_weights)
    # Extra: 1x1 12 * 6, depthwise 9 * 6, 1x1 6 * 10, each with offset and scale for each channel.
    extra = 12 * 6 + 2 * 6 + 9 * 6 + 2 * 6 + 6 * 10 + 2 * 10
    # Each head: depthwise 9 * C + 2 * C, then 1x1 with a bias: 4 boxes of 4 deltas and 4 logits.
    heads = sum(2 * (11 * channels + channels * 16 + 16) for channels in (12, 10))
    assert own == extra + heads == 1482


def test_plain_style_has_the_weights_of_the_paper():
    model = SSD(**arguments(neck=ExtraLayers(EXTRA[:1]), head=None))
    own = count(model.trainable_weights) - count(model.backbone.trainable_weights)
    heads = sum(2 * (9 * channels * 16 + 16) for channels in (12, 10))
    assert own == (12 * 6 + 6) + (9 * 6 * 10 + 10) + heads == 7028


def test_config_is_the_arguments():
    necks = [ExtraLayers(EXTRA, STYLE, (0, 2)), FPN(8, kernel_size=5)]
    origin = Origin("a", licence="MIT", data=DataOrigin(("voc:a@train",), 3, 4), parent=Origin("b"))
    expected = arguments(activation="sigmoid", neck=necks, origin=origin)
    config = SSD(**expected).get_config()
    again = SSD.from_config(config)
    for model in (SSD(**expected), again):
        assert model.default_boxes == expected["default_boxes"]
        assert model.class_names == tuple(expected["class_names"])
        assert model.image_size == expected["image_size"]
        assert model.neck == tuple(expected["neck"])
        assert model.head == expected["head"]
        assert model.preprocessor == expected["preprocessor"]
        assert model.post_process == expected["post_process"]
        assert model.activation == expected["activation"]
        assert model.origin == origin
        assert model.name == expected["name"]
        assert model.display_threshold == (0.75, 0.5, 0.25)  # a dog is not named
    revived = keras.saving.deserialize_keras_object
    assert revived(config["default_boxes"]) == expected["default_boxes"]
    assert list(map(revived, config["neck"])) == expected["neck"]
    assert revived(config["head"]) == expected["head"]
    assert SSD(**arguments()).get_config()["origin"] is None
    assert [layer.name for layer in again.backbone.layers][1:] == ["conv1", "conv2"]


def test_preprocessing_is_inside():
    changes = {"neck": None, "head": None, "default_boxes": DefaultBoxes.paper((9, 25), ((2.0,),))}
    inside = SSD(**arguments(**changes))
    outside = SSD(**arguments(**changes, preprocessor=None))
    outside.set_weights(inside.get_weights())
    images = make_images()
    by_hand = (images[..., ::-1] - [100.0, 110.0, 120.0]) * 0.02
    expected = outputs_of(outside, by_hand)
    assert_same_outputs(outputs_of(inside, images), expected, atol=1e-5)
    assert_same_outputs(outputs_of(inside, images.astype("uint8")), expected, atol=1e-5)


# Saving


def randomize(model) -> None:
    """Weights and running statistics that no initialiser gives."""
    generator = np.random.default_rng(11)
    model.set_weights([generator.uniform(0.05, 0.4, w.shape) for w in model.weights])


@pytest.mark.parametrize("separable", [True, False])
def test_saved_model_loads_without_custom_objects(tmp_path, separable):
    style = ConvStyle(separable, batch_norm=separable, epsilon=0.01)
    model = SSD(**arguments(neck=ExtraLayers(EXTRA, style, (0, 2)), head=SSDHead(style)))
    randomize(model)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert isinstance(loaded, SSD)
    assert_same_outputs(outputs_of(loaded, make_images()), outputs_of(model, make_images()), atol=0)
    np.testing.assert_array_equal(loaded.default_box_array, model.default_box_array)
    assert loaded.post_process == PostProcess(0.2, 0.6, 50, 20, clip_boxes="before")
    assert loaded.assigner == MaxIoUAssigner(0.4, use_boundary_boxes=False)
    assert loaded.class_names == ("cat", "dog", "cow")
    assert loaded.display_threshold == (0.75, 0.5, 0.25)


def test_training_continues_where_a_saved_model_stopped(tmp_path):
    model = SSD(**arguments())
    optimizer = CaffeSGD(WarmUp(0.01, 9, 2), momentum=0.5, l2_decay=0.01)
    losses = {"box_deltas": SmoothL1Loss(), "class_logits": SoftmaxLoss(2.0, 5)}
    model.compile(optimizer, losses, loss_weights={"box_deltas": 2.0, "class_logits": 0.5})
    # Single steps: TensorFlow takes longer to build a graph than to run it.
    is_eager = model.run_eagerly = keras.backend.backend() == "tensorflow"
    x, y = targets(model)
    for _ in range(2):
        model.train_on_batch(x, y)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    loaded.run_eagerly = is_eager
    assert loaded.optimizer.l2_decay == 0.01
    assert int(loaded.optimizer.iterations) == 2
    model.reset_metrics()
    logs, expected = (each.train_on_batch(x, y, return_dict=True) for each in (loaded, model))
    assert logs == pytest.approx(expected, rel=1e-5)
    weighted = 2 * logs["box_deltas_loss"] + 0.5 * logs["class_logits_loss"]
    assert logs["loss"] == pytest.approx(weighted, rel=1e-5)
    for mine, its in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


@pytest.mark.slow
def test_model_moves_between_backends_and_back(tmp_path):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    model = SSD(**arguments())
    randomize(model)
    model.compile(
        CaffeSGD(0.1, momentum=0.6),
        {"box_deltas": SmoothL1Loss(), "class_logits": SoftmaxLoss(2.0)},
    )
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", make_images())
    code = (
        "import keras, numpy, ssd_keras.models\n"
        f"assert keras.backend.backend() == {other!r}\n"
        "model = keras.models.load_model('model.keras')\n"
        "assert model.compiled\n"
        "model.save('back.keras')\n"
        "numpy.savez('outputs.npz', **model.predict(numpy.load('images.npy'), verbose=0))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "outputs.npz")
    expected = outputs_of(model, make_images())
    assert_same_outputs(found, expected, rtol=1e-4, atol=1e-5)
    back = keras.models.load_model(tmp_path / "back.keras")
    assert back.optimizer.momentum == 0.6
    assert_same_outputs(outputs_of(back, make_images()), expected, rtol=1e-5, atol=1e-6)


# Precision


def test_mixed_precision_gives_float32_and_survives_saving(tmp_path):
    plain = SSD(**arguments())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = SSD(**arguments())
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(plain.get_weights())
    dtypes = {layer.compute_dtype for layer in model.layers if layer.name.endswith("_flat")}
    assert dtypes == {"bfloat16"}
    outputs = outputs_of(model, make_images())
    assert {value.dtype.name for value in outputs.values()} == {"float32"}
    expected = outputs_of(plain, make_images())
    for name in OUTPUTS:
        error = np.abs(outputs[name] - expected[name]).max()
        assert 0 < error < 0.05 * np.abs(expected[name]).max()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same_outputs(outputs_of(loaded, make_images()), outputs, atol=0)
    assert keras.config.dtype_policy().name == "float32"


# Training


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_fit_learns_and_logs_both_losses(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = SSD(**arguments(neck=ExtraLayers(EXTRA, feature_maps=(0, 2)), head=None))
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = targets(model)
    dataset = tf.data.Dataset.from_tensors((x.astype("uint8"), y)).repeat()
    model.compile(keras.optimizers.Adam(5e-3))
    history = model.fit(dataset, epochs=3, steps_per_epoch=8, shuffle=False, verbose=0).history
    assert set(history) == {"loss", "box_deltas_loss", "class_logits_loss"}
    for name, values in history.items():
        assert values[-1] < 0.8 * values[0], name
    parts = np.add(history["box_deltas_loss"], history["class_logits_loss"])
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-4)
    # The same numbers as the losses themselves give; bfloat16 rounds otherwise in a graph.
    rel = 1e-4 if policy == "float32" else 0.05
    outputs = outputs_of(model, x)
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    alone = float(SmoothL1Loss()(y["box_deltas"], outputs["box_deltas"]))
    assert logs["box_deltas_loss"] == pytest.approx(alone, rel=rel)
    alone = float(SoftmaxLoss()(y["class_logits"], outputs["class_logits"]))
    assert logs["class_logits_loss"] == pytest.approx(alone, rel=rel)


def test_predict_takes_a_dataset():
    model = SSD(**arguments())
    images = make_images(5).astype("uint8")
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    expected = outputs_of(model, images)
    assert_same_outputs(model.predict(dataset, verbose=0), expected, atol=1e-5)


# Detecting


@pytest.fixture(scope="module")
def colour_detector() -> SSD:
    """Finds red (label 1) and blue (label 0) quarters of an image."""
    image = keras.Input((64, 64, 3))
    model = SSD(
        keras.Model(image, layers.AveragePooling2D(32)(image)),
        DefaultBoxes.paper((32, 60), ((),)),
        ["blue", "red"],
        (64, 64),
        post_process=PostProcess(max_detections=4),
    )
    kernel = np.zeros((3, 3, 3, 2, 3), "float32")
    kernel[1, 1, 0, 0, 2] = kernel[1, 1, 2, 0, 1] = 0.2  # the first box of each cell alone
    bias = np.tile([10.0, 0.0, 0.0], 2)
    model.get_layer("class_head1").set_weights([kernel.reshape(3, 3, 3, 6), bias])
    model.get_layer("box_head1").set_weights([np.zeros((3, 3, 3, 8)), np.zeros(8)])
    return model


def quarter(size, place, colour, dtype="uint8") -> np.ndarray:
    """A dark image of this size with one bright quarter."""
    image = np.zeros((*size, 3), dtype)
    rows, columns = size[0] // 2, size[1] // 2
    top, left = place[0] * rows, place[1] * columns
    image[top : top + rows, left : left + columns, {"red": 0, "blue": 2}[colour]] = 255
    return image


def test_detect_on_images_of_different_sizes(colour_detector):
    found = colour_detector.detect(
        [quarter((40, 80), (1, 0), "red"), quarter((120, 30), (0, 1), "blue", "float32")],
        batch_size=1,
    )
    assert [one.labels.tolist() for one in found] == [[1], [0]]
    expected = [[0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1]]
    np.testing.assert_allclose(np.concatenate([one.boxes for one in found]), expected, atol=1e-6)
    assert min(one.scores[0] for one in found) > 0.99
    assert [one.image_size for one in found] == [(40, 80), (120, 30)]


def test_detect_on_one_image_or_an_array(colour_detector):
    image = quarter((64, 64), (1, 1), "blue")
    alone = colour_detector.detect(image)
    assert alone.labels.tolist() == [0]
    np.testing.assert_allclose(alone.boxes[0], [0.5, 0.5, 1, 1], atol=1e-6)
    other = quarter((64, 64), (0, 0), "red")
    both = colour_detector.detect(np.stack([other, image]))
    assert [one.labels.tolist() for one in both] == [[1], [0]]
    assert [one.image_id for one in both] == [0, 1]
    np.testing.assert_array_equal(both[1].boxes, alone.boxes)


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"neck": ExtraLayers(EXTRA)},
            r"default_boxes describes 2 feature maps but the model has 3 "
            r"\(8x12, 4x6, 2x3\); give default boxes for each",
        ),
        (
            {"neck": ExtraLayers(EXTRA, feature_maps=(0, 3))},
            r"feature_maps=\(0, 3\) must be between 0 and 2: there are 3 feature maps",
        ),
        (
            {"neck": ExtraLayers(EXTRA, feature_maps=(-1, 0))},
            r"feature_maps=\(-1, 0\) must be between 0 and 2",
        ),
        ({"class_names": []}, r"class_names is empty; pass the name of at least one class"),
        ({"name": "\x1b[2Jssd"}, r"name is '\\x1b\[2Jssd'; expected one line without control"),
        ({"class_names": "cat"}, r"class_names='cat' is a string; pass a list of names"),
        ({"class_names": 3}, r"class_names is 3; expected a list of names"),
        (
            {"neck": ExtraLayers((ExtraLayer(6, 10, kernel_size=9, padding=0),))},
            r"extra1 needs a feature map of 9x9 or more but gets 8x12; use a larger image_size or "
            r"fewer extra layers",
        ),
        (
            {"backbone": keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), layers.Flatten()])},
            r"output 0 of the backbone 'sequential\w*' has the shape \(None, 18432\); expected a "
            r"feature map \[B, H, W, C\] of fixed size",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        SSD(**arguments(**changes))


def test_unknown_arguments_are_refused():
    # Keras' own constructor would ignore them.
    with pytest.raises(TypeError, match="unexpected keyword argument 'style'"):
        SSD(**arguments(style=STYLE))


def test_too_small_images_are_refused(monkeypatch):
    use_quick_weights(monkeypatch)
    with pytest.raises(
        ValueError, match=r"extra4 needs a feature map of 3x3 or more but gets 2x2; use a larger"
    ):
        ssd_vgg16((200, 240), ["cat"])


def test_wrong_number_of_sizes_is_refused():
    with pytest.raises(ValueError, match=r"6 feature maps need one more size than that; got 6"):
        ssd_vgg16((300, 300), ["cat"], VGG16Options(sizes=(30, 60, 111, 162, 213, 264)))


def test_losses_must_fit_the_model():
    model = SSD(**arguments(activation="sigmoid"))
    model.compile(loss={"box_deltas": GIoULoss()})
    assert [type(x) for x in model.loss.values()] == [GIoULoss, SigmoidLoss]
    for loss, message in [
        ({"class_logits": SoftmaxLoss()}, r"^SoftmaxLoss\(negatives_per_positive=3.0, min_negative"
         r"s=0\) is for activation='softmax' but the model has activation='sigmoid'; choose a l"),
        ({"box_deltas": FocalLoss()}, r"^the loss of 'box_deltas' is FocalLoss\(alpha=0.25, gamma="
         r"2.0\); expected a BoxLoss, see ssd_keras.losses\.$"),
        ({"boxes": GIoULoss()}, r"^loss={'boxes': GIoULoss\(quality_weight=False\)}: expected a d"),
        ("mse", r"^loss='mse': expected a dictionary with a loss for 'box_deltas', for"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.compile(loss=loss)
    with pytest.raises(ValueError, match="^activation='tanh' is unknown; choose 'softmax'"):
        SSD(**arguments(activation="tanh"))
