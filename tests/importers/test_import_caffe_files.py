"""Caffe's files as they lie on the disk, and the line that each bad one gives."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from caffe_networks import prior_boxes_of, shapes_of, zero_network, zeros
from gold import caffe_nets
from gold.caffe_nets import NETS
from quick_weights import use_quick_weights

from ssd_keras import from_preset
from ssd_keras.importers import caffe
from ssd_keras.importers.caffe import import_caffe, import_caffe_backbone, ssd_from_network
from ssd_keras.importers.caffe_file import PriorBox, read_caffemodel
from ssd_keras.importers.import_file import import_file


@pytest.mark.parametrize("options", [{}, {"legacy": True}, {"double": True}])
def test_arrays_come_as_they_were_written(tmp_path, options):
    arrays = {
        "conv1_1": [
            np.arange(24, dtype="float32").reshape(2, 3, 2, 2) / 7,
            np.float32([0.5, -2.25]),
        ],
        "scale": [np.float32([1, 2, 3])],
    }
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffe_nets.caffemodel(arrays, NETS["ssd512_vgg16_coco"], **options))
    network = read_caffemodel(path)
    assert list(network.arrays) == ["conv1_1", "scale"]
    for name, expected in arrays.items():
        for found, array in zip(network.arrays[name], expected, strict=True):
            assert found.dtype == "float32" and found.size == array.size
            np.testing.assert_array_equal(found.reshape(array.shape), array)
    assert network.prior_boxes["fc7_mbox_priorbox"] == PriorBox(
        min_sizes=(51.2,), max_sizes=(133.12,), aspect_ratios=(2.0, 3.0), step=(16.0, 16.0)
    )


def test_bytes_of_the_format_by_hand(tmp_path):
    # layer (100): name (1) "a", blobs (7) = [data (5) packed floats 1.5, shape (7) dim (1) packed
    # 1]; key = 8 * number + 2 for what has a length; 100 * 8 + 2 = 802 = 0xa2 0x06.
    blob = b"\x2a\x04" + np.float32(1.5).tobytes() + b"\x3a\x03\x0a\x01\x01"
    layer = b"\x0a\x01a" + b"\x3a" + bytes([len(blob)]) + blob + b"\x52\x02\x08\x01"  # phase
    # min_size (1) of prior_box_param (203 -> 1626 = 0xda 0x0c): key 8 + 5, four bytes.
    prior_box = b"\x0a\x01p\xda\x0c\x05\x0d" + np.float32(35.84).tobytes()
    path = tmp_path / "net.caffemodel"
    path.write_bytes(
        b"".join(b"\xa2\x06" + bytes([len(each)]) + each for each in (layer, prior_box))
    )
    network = read_caffemodel(path)
    assert network.arrays["a"][0].tolist() == [1.5]
    assert network.prior_boxes["p"] == PriorBox((35.84,), (), (), variances=())


def small_file(**changed):
    arrays = {"conv1_1": [np.ones((64, 3, 3, 3), "float32"), np.ones(64, "float32")]}
    return caffe_nets.caffemodel({**arrays, **changed})


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


BAD = {
    "empty": (b"", r"is empty"),
    "web page": (b"<!DOCTYPE html><html><body>Not found</body></html>", r"is a web page"),
    "prototxt": (b'name: "VGG_VOC0712"\nlayer {', r"is a text that describes a network \(prot"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid", r"is a Git LFS pointer, not the"),
    "pickle": (pickle.dumps(Malicious()), r"is truncated or not a Caffe network"),
    "zip": (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", r"is truncated or not a Caffe network"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(40), r"is truncated or not a Caffe network"),
    "truncated": (small_file()[:-3], r"is truncated or not a Caffe network"),
    "half": (small_file()[:3000], r"is truncated or not a Caffe network"),
    "name of no text": (
        small_file().replace(b"conv1_1", b"\xff\nnv1_1"),
        r"among the 1 with weights, '\ufffd\\nnv1_1' to",
    ),
    "short array": (
        # 64 numbers become a shape of 65
        small_file().replace(b"\x3a\x03\x0a\x01\x40", b"\x3a\x03\x0a\x01\x41"),
        r"array 1 of layer 'conv1_1' has 64 numbers, expected 65 for its shape \(65,\); the file",
    ),
    "nan": (
        small_file(fc6=[np.float32([1, np.nan])]),
        r"array 0 of layer 'fc6' holds infinity or NaN, expected finite weights",
    ),
    "another net": (
        small_file(prob=[np.ones(3, "float32")]),
        r"there is no layer 'conv4_3_norm_mbox_conf' among the 2 with weights, 'conv1_1' to "
        r"'prob'; pass the .caffemodel of an SSD300 or SSD512",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, message = BAD[name]
    Path("bad.caffemodel").write_bytes(content)
    for read in (import_caffe, import_caffe_backbone):
        with pytest.raises(ValueError, match=r"'bad.caffemodel'.*") as caught:
            read("bad.caffemodel")
        assert "\n" not in str(caught.value)
        if read is import_caffe:
            assert caught.match(message)
    assert os.listdir() == ["bad.caffemodel"]


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r"'none.caffemodel' does not exist; pass the path"):
        import_caffe("none.caffemodel")


WRONG = {
    "outputs": (
        {"fc7_mbox_conf": zeros((125, 1024, 3, 3), (125,))},
        r"layer 'fc7_mbox_conf' has 125 outputs, expected a multiple of its 6 default boxes",
    ),
    "two numbers of classes": (
        {"fc7_mbox_conf": zeros((120, 1024, 3, 3), (120,))},
        r"the heads differ in the number of classes \(conv4_3_norm_mbox_conf 21, "
        r"fc7_mbox_conf 20, .*\), expected one number",
    ),
    "kernel": (
        {"fc6": zeros((4096, 512, 7, 7), (4096,))},
        r"the kernel of layer 'fc6' has the shape \(4096, 512, 7, 7\), expected "
        r"\(1024, 512, 3, 3\); pass the .caffemodel",
    ),
    "bias": (
        {"conv6_2": zeros((512, 256, 3, 3), (511,))},
        r"the bias of layer 'conv6_2' has the shape \(511,\), expected \(512,\)",
    ),
    "no bias": (
        {"conv8_1": zeros((128, 256, 1, 1))},
        r"layer 'conv8_1' has 1 arrays, expected 2",
    ),
    "shared scale": (
        {"conv4_3_norm": zeros((1,))},
        r"the scale of layer 'conv4_3_norm' has the shape \(\), expected \(512,\)",
    ),
}


@pytest.fixture(scope="module")
def one_model():
    """Serves all files that are refused after the model was built."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_quick_weights(monkeypatch)
        yield from_preset("ssd300_vgg16_voc")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_name_the_layer(monkeypatch, one_model, name):
    monkeypatch.setattr(caffe, "ssd_vgg16", lambda *arguments, **options: one_model)
    changed, message = WRONG[name]
    with pytest.raises(ValueError, match=r"'net.caffemodel': " + message) as caught:
        ssd_from_network(zero_network(NETS["ssd300_vgg16_voc"], **changed))
    assert "\n" not in str(caught.value)


OTHER_BOXES = {
    "variance": ({"variances": (0.1,)}, r"has the variance \(0.1,\), expected \(0.1, 0.1, 0.2, 0"),
    "offset": ({"offset": 0.0}, r"has the offset 0.0, expected 0.5"),
    "flip": ({"flip": False}, r"has the flip False, expected True"),
    "max_size": ({"max_sizes": ()}, r"has the number of max_size 0, expected 1"),
    "steps": ({"step": (8.0, 16.0)}, r"has the step_h and step_w 8.0, expected 16.0"),
    "row": ({"min_sizes": (30.0,)}, r"min_size \(30, 30, .*\) and max_size .* do not follow"),
}


@pytest.mark.parametrize("name", OTHER_BOXES)
def test_default_boxes_that_ssd_vgg16_cannot_have(name):
    net = NETS["ssd300_vgg16_voc"]
    changed, message = OTHER_BOXES[name]
    network = zero_network(net, prior_boxes_of(net, **changed))
    with pytest.raises(ValueError, match=r"'net.caffemodel': .*" + message):
        ssd_from_network(network)


def test_other_sources_have_other_default_boxes():
    net = NETS["ssd300_vgg16_voc"]
    boxes = prior_boxes_of(net)
    boxes["pool6_mbox_priorbox"] = boxes.pop("conv9_2_mbox_priorbox")
    with pytest.raises(
        ValueError, match=r"there is no layer 'conv9_2_mbox_priorbox' among the PriorBox layers"
    ):
        ssd_from_network(zero_network(net, boxes))


def test_backbone_refusals_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_quick_weights(monkeypatch)
    full = {"fc6": [np.zeros((4096, 1), "float32"), np.zeros(4096, "float32")]}
    shapes = shapes_of(NETS["ssd300_vgg16_voc"])
    names = [name for name, *_ in caffe_nets.backbone_layers()][:13]
    weights = {name: zeros(*shapes[name]) for name in names}
    Path("full.caffemodel").write_bytes(caffe_nets.caffemodel({**weights, **full}))
    with pytest.raises(
        ValueError,
        match=r"the kernel of layer 'fc6' has the shape \(4096, 1\), expected \(1024, 512, 3, 3\); "
        r"pass VGG_ILSVRC_16_layers_fc_reduced.caffemodel or an SSD trained from it",
    ):
        import_file("caffe", "full.caffemodel", "backbone.weights.h5")
    with pytest.raises(ValueError, match=r"output 'backbone.h5' must end in .keras for"):
        import_file("caffe", "full.caffemodel", "backbone.h5")
    with pytest.raises(FileNotFoundError, match=r"the folder 'no' does not exist; create it"):
        import_file("caffe", "full.caffemodel", "no/t.weights.h5")
    assert os.listdir() == ["full.caffemodel"]
