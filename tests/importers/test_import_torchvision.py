"""torchvision's weights: stored numbers of its models, and what is refused."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from gold import torch_weights
from gold.torch_weights import same_detections
from PIL import Image
from pth_files import pth_file
from quick_weights import use_quick_weights

from ssd_keras.core.class_names import COCO_CLASSES, COCO_CLASSES_BY_ID, UNUSED_COCO_IDS
from ssd_keras.engine.detector import load_model
from ssd_keras.importers.torchvision import resnet_from_state_dict, ssd_from_state_dict
from ssd_keras.models import ResNetOptions, ssd_resnet
from ssd_keras.models.backbones.resnet import resnet50
from ssd_keras.presets import PRESETS, from_preset

GOLD = Path(__file__).parents[1] / "gold"
SSDLITE = "ssdlite320_mobilenet_v3_large"


def gold_of(name) -> dict:
    """Stored numbers and, under "arrays", the weights that they belong to."""
    gold = dict(np.load(GOLD / f"import_{name}.npz"))
    return gold | {"arrays": dict(random_state(str(gold.pop("shapes"))))}


@functools.lru_cache(maxsize=2)
def random_state(shapes):
    arrays = torch_weights.random_state(json.loads(shapes))
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


@pytest.fixture(autouse=True)
def quick_weights(monkeypatch):
    use_quick_weights(monkeypatch)


def numpy(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


@pytest.fixture(scope="module")
def ssdlite(tmp_path_factory):
    """The preset of SSDLite, whose published file has the weights of the gold numbers."""
    name, content = f"torchvision_{SSDLITE}_coco", pth_file(gold_of(SSDLITE)["arrays"])
    sha256 = hashlib.sha256(content).hexdigest()
    weights = dataclasses.replace(PRESETS[name].weights, sha256=sha256)
    file = tmp_path_factory.mktemp("cache") / sha256[:16] / Path(weights.address).name
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSD_KERAS_CACHE", str(file.parents[1]))
        patch.setitem(PRESETS, name, dataclasses.replace(PRESETS[name], weights=weights))
        use_quick_weights(patch)
        return from_preset(name)


# Equal numbers


def assert_stored_numbers(model, name, folder):
    gold = gold_of(name)
    model.run_eagerly = True  # one image: a graph takes longer to build than to run
    images = torch_weights.image(model.image_size)[None]
    outputs = {key: numpy(value)[0] for key, value in model(images).items()}
    for key, values in outputs.items():
        # Seen: 1e-5 of numbers up to 15.
        np.testing.assert_allclose(values[gold["rows"]], gold[key], atol=1e-4)
        norm = np.linalg.norm(values.astype("float64"), axis=0)
        np.testing.assert_allclose(norm, gold[f"{key}_norm"], rtol=1e-5)
    Image.fromarray(images[0]).save(folder / "photo.png")
    found = model.detect(str(folder / "photo.png"))
    assert len(found) == model.post_process.max_detections
    expected = [gold[f"detection_{key}"] for key in ("boxes", "scores", "labels")]
    found = [getattr(found, key) for key in ("boxes", "scores", "labels")]
    assert same_detections(found, expected) == len(expected[0]) == len(found[0])


def test_ssd300_gives_torchvisions_stored_numbers(tmp_path):
    arrays = gold_of("ssd300_vgg16")["arrays"]
    assert_stored_numbers(ssd_from_state_dict(arrays), "ssd300_vgg16", tmp_path)


def test_ssdlite_gives_torchvisions_stored_numbers(ssdlite, tmp_path):
    assert_stored_numbers(ssdlite, SSDLITE, tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_backbone_gives_torchvisions_stored_features(name):
    gold = gold_of(name)
    # 24 and 40 are even at every stride: padding on one side only would show.
    backbone = resnet_from_state_dict(gold["arrays"], (24, 40))
    images = torch_weights.normalized(torch_weights.image((24, 40))[None])
    features = numpy(keras.tree.flatten(backbone(images))[0])
    assert features.shape == gold["features"].shape
    np.testing.assert_allclose(features, gold["features"], atol=2e-5)


def test_imported_backbone_starts_an_ssd(tmp_path):
    path = str(tmp_path / "resnet.weights.h5")
    backbone = resnet_from_state_dict(gold_of("resnet50")["arrays"], (24, 40))
    backbone.save_weights(path)
    options = ResNetOptions(variant="torchvision", backbone_weights=path)
    model = ssd_resnet((264, 264), ["cat"], options)
    for found, expected in zip(model.backbone.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(numpy(found), numpy(expected))
    # Its images must reach the backbone as those that torchvision's classifiers are fed.
    image = torch_weights.image((264, 264), seed=3)[None]
    found = numpy(model.get_layer("preprocessor")(image))
    np.testing.assert_allclose(found, torch_weights.normalized(image), atol=1e-5)


def test_saved_import_is_the_same_detector(tmp_path, ssdlite):
    path = str(tmp_path / "model.keras")
    ssdlite.save(path)
    loaded = load_model(path)
    assert loaded.class_names == ssdlite.class_names
    assert loaded.post_process == ssdlite.post_process
    np.testing.assert_array_equal(loaded.default_box_array, ssdlite.default_box_array)
    images = torch_weights.image((320, 320), seed=1)[None]
    expected = ssdlite(images)
    for key, values in loaded(images).items():
        np.testing.assert_array_equal(numpy(values), numpy(expected[key]))


# Classes


def test_labels_are_cocos_ids_less_one():
    names = COCO_CLASSES_BY_ID
    assert len(names) == 90 == len(set(names))
    # Ids from COCO's own annotation files.
    for coco_id, name in [(1, "person"), (13, "stop sign"), (18, "dog"), (90, "toothbrush")]:
        assert names[coco_id - 1] == name
    assert tuple(name for name in names if name in COCO_CLASSES) == COCO_CLASSES
    unused = [name for name in names if name not in COCO_CLASSES]
    assert unused == [f"unused COCO id {number}" for number in UNUSED_COCO_IDS]


def with_outputs(arrays, outputs):
    """The same SSDLite with other numbers of classes: six default boxes in each cell."""
    changed = dict(arrays)
    for name, array in arrays.items():
        if "classification_head" in name and len(array) == 6 * 91:
            by_box = array.reshape(6, 91, *array.shape[1:])[:, :outputs]
            changed[name] = by_box.reshape(6 * outputs, *array.shape[1:])
    return changed


def test_own_classes_keep_their_logits(ssdlite):
    arrays = gold_of(SSDLITE)["arrays"]
    model = ssd_from_state_dict(with_outputs(arrays, 4), ["red", "white", "platelet"])
    images = torch_weights.image((320, 320))[None]
    logits, of_whole = (numpy(x(images)["class_logits"]) for x in (model, ssdlite))
    assert model.class_names == ("red", "white", "platelet")
    np.testing.assert_allclose(logits, of_whole[..., :4], atol=1e-5)


# State dicts that do not fit


def resnet18_arrays():
    return gold_of("resnet18")["arrays"]


def test_missing_array_is_named():
    arrays = resnet18_arrays()
    del arrays["layer2.0.downsample.1.running_var"]
    message = (
        r"^a\.pth lacks the array 'layer2\.0\.downsample\.1\.running_var'; expected a state dict "
        r"of torchvision's resnet18\.$"
    )
    with pytest.raises(ValueError, match=message):
        resnet_from_state_dict(arrays, (32, 32), source="a.pth")


def test_wrong_shape_is_named_in_pytorchs_order():
    arrays = resnet18_arrays()
    arrays["layer2.0.conv1.weight"] = np.zeros((128, 64, 5, 3), "float32")
    message = (
        r"^a\.pth: the array 'layer2\.0\.conv1\.weight' has the shape \(128, 64, 5, 3\), expected "
        r"\(128, 64, 3, 3\); expected a state dict of torchvision's resnet18, unchanged in its "
        r"sizes\.$"
    )
    with pytest.raises(ValueError, match=message):
        resnet_from_state_dict(arrays, (32, 32), source="a.pth")


def test_wrong_shape_of_a_depthwise_convolution():
    arrays = gold_of(SSDLITE)["arrays"]
    arrays["backbone.features.0.4.block.1.0.weight"] = np.zeros((72, 1, 3, 3), "float32")
    message = r"block\.1\.0\.weight' has the shape \(72, 1, 3, 3\), expected \(72, 1, 5, 5\);"
    with pytest.raises(ValueError, match=message):
        ssd_from_state_dict(arrays)


def test_names_of_a_strangers_file_are_one_short_line():
    arrays = {"\x1b[2J" * 1000: np.zeros(1)}
    with pytest.raises(ValueError, match=r"it holds '\\x1b\[2J.* \.\.\. .*'; expected") as caught:
        ssd_from_state_dict(arrays)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="holds the array ") as caught:
        resnet_from_state_dict(resnet18_arrays() | arrays, (32, 32))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_deeper_network_is_not_taken_for_a_shallow_one():
    arrays = resnet18_arrays()
    arrays["layer1.2.conv1.weight"] = arrays["layer1.1.conv1.weight"]  # as ResNet34 has it
    message = r"holds the array 'layer1\.2\.conv1\.weight', which the model does not have"
    with pytest.raises(ValueError, match=message):
        resnet_from_state_dict(arrays, (32, 32))


def test_array_without_numbers_is_refused():
    arrays = resnet18_arrays()
    arrays["layer1.0.bn2.weight"] = np.where(np.arange(64) == 7, np.nan, 1)
    with pytest.raises(ValueError, match=r"'layer1\.0\.bn2\.weight' holds NaN or infinity; pass"):
        resnet_from_state_dict(arrays, (32, 32))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (ssd_from_state_dict, "ssd300_vgg16 or ssdlite320_mobilenet_v3_large"),
        (lambda arrays, source: resnet_from_state_dict(arrays, (32, 32), source=source),
         "resnet18 or resnet50"),
    ],
)  # fmt: skip
def test_other_architecture_is_refused(build, expected):
    arrays = {f"layer{index}": np.zeros(1) for index in range(5)}
    message = (
        rf"^a\.pth is not an? \w+ of torchvision: it holds 'layer0', 'layer1', 'layer2' and 2 "
        rf"more; expected a state dict of {expected}\.$"
    )
    with pytest.raises(ValueError, match=message):
        build(arrays, source="a.pth")


def test_class_names_must_fit():
    arrays = gold_of(SSDLITE)["arrays"]
    message = r"has 4 outputs, background first; expected class_names with 3 names, got none: pass"
    with pytest.raises(ValueError, match=message):
        ssd_from_state_dict(with_outputs(arrays, 4))
    with pytest.raises(ValueError, match="with 90 names, got 80: pass"):
        ssd_from_state_dict(arrays, COCO_CLASSES)


def test_head_of_another_width_is_refused():
    arrays = gold_of(SSDLITE)["arrays"]
    name = "head.classification_head.module_list.0.1.bias"
    arrays[name] = arrays[name][:-1]
    message = r"module_list\.0\.1\.bias' has 545 numbers, expected a multiple of 6, the default"
    with pytest.raises(ValueError, match=message):
        ssd_from_state_dict(arrays)


def test_variant_of_resnet50_is_checked():
    with pytest.raises(ValueError, match="variant='caffe' is unknown; choose 'keras' or 'torch"):
        resnet50((64, 64), variant="caffe")
