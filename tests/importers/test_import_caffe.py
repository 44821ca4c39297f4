"""Caffe's files: OpenCV's numbers for the same nets, layouts worked by hand, the backbone."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from caffe_networks import choice, prior_boxes_of, shapes_of, zero_network, zeros
from gold import caffe_nets
from gold.caffe_nets import NETS
from PIL import Image
from quick_weights import use_quick_weights

from ssd_keras import from_preset
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.class_names import COCO_CLASSES, VOC_CLASSES
from ssd_keras.importers.caffe import import_caffe, import_caffe_backbone, ssd_from_network
from ssd_keras.importers.caffe_file import PriorBox
from ssd_keras.importers.import_file import import_file

GOLD = Path(__file__).parents[1] / "gold"
SIDES = [1, 0, 3, 2]  # xyxy to yxyx, (x, y, w, h) to (y, x, h, w)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Imports a generated file; `imported(name)` gives the model of each file once."""

    @functools.lru_cache(maxsize=1)
    def load(name, truncate_sizes=True, **options):
        net = NETS[name]
        path = tmp_path_factory.mktemp("caffe") / f"{name}.caffemodel"
        path.write_bytes(caffe_nets.caffemodel(caffe_nets.random_weights(net), net, **options))
        with pytest.MonkeyPatch.context() as monkeypatch:
            use_quick_weights(monkeypatch)
            model = import_caffe(str(path), truncate_sizes=truncate_sizes)
        model.run_eagerly = True  # a few images: a graph takes longer to build than to run
        return model, path

    return load


def photograph(shared, name, size):
    with Image.open(shared / "data" / "photos" / name) as image:
        return caffe_nets.nearest(np.asarray(image.convert("RGB")), size)


# OpenCV


def assert_same_detections(found, expected):
    """The same boxes, one to one; equal scores may stand in another order.

    Returns the largest difference of scores and of boxes.
    """
    count = len(found)
    assert count == len(expected) > 100
    ours = np.column_stack([100 * found.labels, found.scores, found.boxes])
    theirs = np.column_stack(
        [100 * (expected[:, 1] - 1), expected[:, 2], expected[:, 3:][:, SIDES]]
    )
    differences = np.abs(ours[:, None] - theirs).max(axis=2)
    partner = differences.argmin(axis=1)
    assert sorted(partner) == list(range(count))
    np.testing.assert_allclose(ours, theirs[partner], atol=2e-4)
    distance = np.abs(ours - theirs[partner])
    return distance[:, 1].max(), distance[:, 2:].max()


def assert_gold(model, name, input_image, image):
    """Raw outputs, default boxes and detections of OpenCV, stored."""
    gold = np.load(GOLD / f"caffe_{name}.npz")
    rows = gold["rows"]
    np.testing.assert_allclose(
        model.default_box_array[rows], gold["default_boxes"][:, SIDES], atol=1e-6
    )
    outputs = model.predict_on_batch(image[None])
    # Thirty float32 convolutions: against float64 each side errs by up to 3e-4 on logits to 12.
    np.testing.assert_allclose(
        outputs["box_deltas"][0, rows], gold["box_deltas"][input_image][:, SIDES], atol=1e-3
    )
    np.testing.assert_allclose(
        outputs["class_logits"][0, rows], gold["class_logits"][input_image], atol=2e-3
    )
    expected = gold["detections"][gold["detections"][:, 0] == input_image]
    assert_same_detections(model.detect(image), expected)


SLOW_512 = pytest.param("ssd512_vgg16_coco", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["ssd300_vgg16_voc", SLOW_512])
def test_opencv_gold_of_a_generated_image(imported, name):
    model, _ = imported(name)
    assert_gold(model, name, 0, caffe_nets.generated_image(NETS[name].size))


@pytest.mark.parametrize("name", ["ssd300_vgg16_voc", SLOW_512])
def test_opencv_gold_of_a_photograph(imported, shared, name):
    model, _ = imported(name)
    assert_gold(model, name, 1, photograph(shared, "bird.bmp", NETS[name].size))


@pytest.fixture(scope="session")
def opencv4():
    """A Python whose OpenCV reads Caffe's files."""
    named = os.environ.get("SSD_KERAS_OPENCV4_PYTHON")
    python = named or sys.executable
    check = [python, "-c", "import cv2; cv2.dnn.readNetFromCaffe"]
    if subprocess.run(check, capture_output=True).returncode != 0:
        if named:
            pytest.fail(
                f"SSD_KERAS_OPENCV4_PYTHON={named} has no cv2.dnn.readNetFromCaffe: install "
                "opencv-python-headless<5 there, or unset it"
            )
        pytest.skip("NOT TESTED: OpenCV below 5 is not installed")
    return python


@pytest.mark.consumers
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ssd300_vgg16_voc", {}),
        ("ssd300_vgg16_voc", {"legacy": True}),  # OpenCV reads it by another schema
        ("ssd300_vgg16_coco", {}),
        ("ssd512_vgg16_voc", {}),
        ("ssd512_vgg16_voc", {"truncate_sizes": False}),  # OpenCV takes 35.84 as written
        ("ssd512_vgg16_coco", {}),
    ],
)
def test_opencv_live(imported, opencv4, shared, tmp_path, name, options):
    model, path = imported(name, **options)
    net = NETS[name] if options.get("truncate_sizes") is False else NETS[name].truncated()
    photos = ("bird.bmp", "cat.bmp", "grace_hopper.bmp")
    images = np.stack([photograph(shared, photo, net.size) for photo in photos])
    (tmp_path / "deploy.prototxt").write_text(caffe_nets.deploy_prototxt(net, len(images)))
    np.save(tmp_path / "blob.npy", caffe_nets.blob(images))
    files = [tmp_path / "deploy.prototxt", path, tmp_path / "blob.npy", tmp_path / "out.npz"]
    run = subprocess.run(
        [opencv4, GOLD / "make_caffe_gold.py", *files], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    expected, outputs = np.load(tmp_path / "out.npz"), model.predict_on_batch(images)
    differences = {
        "default boxes": model.default_box_array - expected["default_boxes"][:, SIDES],
        "box deltas": outputs["box_deltas"] - expected["box_deltas"][..., SIDES],
        "class logits": outputs["class_logits"] - expected["class_logits"],
    }
    bounds = {"default boxes": 1e-6, "box deltas": 1e-3, "class logits": 2e-3}
    largest = {key: float(np.abs(value).max()) for key, value in differences.items()}
    found = model.detect(images)
    for image, photo in enumerate(photos):
        theirs = expected["detections"][expected["detections"][:, 0] == image]
        scores, boxes = assert_same_detections(found[image], theirs)
        print(f"{name} {options} {photo}: scores {scores:.1e}, boxes {boxes:.1e}")  # pytest -s
    print(largest, {key: float(np.abs(value).max()) for key, value in outputs.items()})
    assert all(largest[key] < bounds[key] for key in bounds), largest


# Layouts by hand


def test_heads_change_their_order(monkeypatch):
    use_quick_weights(monkeypatch)
    net = NETS["ssd300_vgg16_voc"]
    # Box k of conv9_2 (1 cell, 4 boxes): x, y, w, h = k + 0.1, 0.2, 0.3, 0.4. Kernels are 0.
    shapes = shapes_of(net)
    bias = np.float32([[k + 0.1, k + 0.2, k + 0.3, k + 0.4] for k in range(4)]).reshape(-1)
    kernel = np.zeros(shapes["conv9_2_mbox_loc"][0], "float32")
    kernel[6, 7, 2, 0] = 5.0  # width of box 1, channel 7, bottom row, left column
    logits = np.arange(84, dtype="float32")  # 4 boxes of 21 numbers, background first
    network = zero_network(
        net,
        conv9_2_mbox_loc=[kernel, bias],
        conv9_2_mbox_conf=[*zeros(shapes["conv9_2_mbox_conf"][0]), logits],
        conv4_3_norm=[np.arange(512, dtype="float32").reshape(1, 512, 1, 1)],
    )
    model = ssd_from_network(network)
    found = model(np.zeros((1, 300, 300, 3), "uint8"), training=False)
    outputs = {name: np.asarray(values) for name, values in found.items()}
    expected = [[k + 0.2, k + 0.1, k + 0.4, k + 0.3] for k in range(4)]  # y, x, h, w
    np.testing.assert_allclose(outputs["box_deltas"][0, -4:], expected, rtol=1e-6)
    np.testing.assert_array_equal(outputs["class_logits"][0, -4:], logits.reshape(4, 21))
    assert not outputs["box_deltas"][0, :-4].any()
    kernel = model.get_layer("box_head6").get_weights()[0]
    assert np.argwhere(kernel).tolist() == [[2, 0, 7, 7]]  # row, column, input, box 1's width
    (scale,) = model.backbone.get_layer("conv4_3_norm").get_weights()
    assert scale[[3, 500]].tolist() == [3, 500]


def test_sizes_of_ssd512_are_whole_pixels(monkeypatch):
    network = zero_network(NETS["ssd512_vgg16_voc"])
    preset, class_names, options = choice(monkeypatch, network)
    assert preset == "ssd512_vgg16_voc" and class_names == VOC_CLASSES
    assert options["sizes"] == (35, 76, 153, 230, 307, 384, 460, 537)
    maps = [(cells, cells) for cells in (64, 32, 16, 8, 4, 2, 1)]
    boxes = DefaultBoxes.paper(**options).boxes((512, 512), maps)
    # First cell: centre 0.5 * 8 = 4; square 35, square sqrt(35 * 76) = 51.5752,
    # ratio 2: width 35 * 1.41421 = 49.4975, height 35 / 1.41421 = 24.7487, then the reciprocal.
    heights_widths = [(35, 35), (51.5752, 51.5752), (24.7487, 49.4975), (49.4975, 24.7487)]
    expected = [
        [4 - height / 2, 4 - width / 2, 4 + height / 2, 4 + width / 2]
        for height, width in heights_widths
    ]
    np.testing.assert_allclose(512 * boxes[:4], expected, atol=1e-3)
    assert len(boxes) == 24564
    _, _, options = choice(monkeypatch, network, truncate_sizes=False)
    assert options["sizes"] == NETS["ssd512_vgg16_voc"].sizes


def test_default_boxes_of_the_file_win(monkeypatch):
    net = NETS["ssd300_vgg16_coco"]
    # The preset's, where the file says nothing: COCO's by 80 classes.
    preset, class_names, options = choice(monkeypatch, zero_network(net, prior_boxes={}))
    assert preset == "ssd300_vgg16_coco" and class_names == COCO_CLASSES
    assert options == {"sizes": (21, 45, 99, 153, 207, 261, 315)}
    boxes = {
        name: PriorBox((10.9 + index,), (11.9 + index,), (2.0,), clip=True)
        for index, name in enumerate(prior_boxes_of(net))
    }
    _, _, options = choice(monkeypatch, zero_network(net, boxes))
    assert options["sizes"] == (10, 11, 12, 13, 14, 15, 16)
    assert options["aspect_ratios"] == ((2.0,),) * 6 and options["clip"] == "corners"
    # Caffe without a step: image / map
    assert options["steps"] == pytest.approx([300 / 38, 300 / 19, 30, 60, 100, 300])


def test_classes_of_other_data(monkeypatch):
    net = dataclasses.replace(NETS["ssd300_vgg16_voc"], num_classes=3)
    network, bare = zero_network(net), zero_network(net, prior_boxes={})
    pets = {"class_names": ["cat", "dog"]}
    preset, class_names, _ = choice(monkeypatch, network, **pets)
    assert (preset, class_names) == ("ssd300_vgg16_voc", ("cat", "dog"))
    with pytest.raises(
        ValueError,
        match=r"'net.caffemodel' has 2 classes but preset 'ssd300_vgg16_voc' has 20; pass as many",
    ):
        ssd_from_network(network)
    with pytest.raises(ValueError, match=r"has 2 classes but class_names has 3; pass as many"):
        ssd_from_network(network, class_names=["cat", "dog", "cow"])
    with pytest.raises(
        ValueError,
        match=r"has 2 classes, neither VOC's 20 nor COCO's 80, and no PriorBox layers; name the "
        r"preset whose default boxes it has: ssd300_vgg16_voc or ssd300_vgg16_coco",
    ):
        ssd_from_network(bare, **pets)
    _, _, options = choice(monkeypatch, bare, preset="ssd300_vgg16_coco", **pets)
    assert options["sizes"][0] == 21
    with pytest.raises(
        ValueError, match=r"preset 'ssd512_vgg16_voc' does not fit 'net.caffemodel', an SSD300"
    ):
        ssd_from_network(bare, preset="ssd512_vgg16_voc")


# The backbone


def test_fc_reduced_vgg16_becomes_backbone_weights(tmp_path, monkeypatch):
    use_quick_weights(monkeypatch)
    weights = caffe_nets.random_backbone(9)
    path = tmp_path / "VGG_ILSVRC_16_layers_fc_reduced.caffemodel"
    # With the classifier that the published file still has
    more = {"fc8": [np.zeros((1000, 4, 1, 1), "float32"), np.zeros(1000, "float32")]}
    path.write_bytes(caffe_nets.caffemodel({**weights, **more}, legacy=True))
    output = tmp_path / "vgg16.weights.h5"
    import_file("caffe", str(path), str(output))
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, output.name])
    model = from_preset("ssd300_vgg16_voc", ["cat"], backbone_weights=str(output))
    for name, (kernel, bias) in weights.items():
        found_kernel, found_bias = model.backbone.get_layer(name).get_weights()
        np.testing.assert_array_equal(found_kernel, np.moveaxis(kernel, (0, 1), (3, 2)))
        np.testing.assert_array_equal(found_bias, bias)
    (scale,) = model.backbone.get_layer("conv4_3_norm").get_weights()
    assert (scale == 20).all()


def test_backbone_of_an_ssd_keeps_its_scale(imported, monkeypatch):
    use_quick_weights(monkeypatch)
    _, path = imported("ssd300_vgg16_voc")
    backbone = import_caffe_backbone(str(path), (64, 96))
    assert [x.shape[1:] for x in backbone.outputs] == [(8, 12, 512), (4, 6, 1024)]
    (scale,) = backbone.get_layer("conv4_3_norm").get_weights()
    expected = caffe_nets.random_weights(NETS["ssd300_vgg16_voc"])["conv4_3_norm"][0]
    np.testing.assert_array_equal(scale, expected)
