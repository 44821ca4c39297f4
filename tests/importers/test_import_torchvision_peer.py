"""Imported models against torchvision's: raw outputs, detections, losses, gradients.

Both get images of the model's size, because torchvision resizes by another rule.
`test_import_torchvision.py` compares the imports with numbers stored from the same models.
"""

import copy
import functools
import importlib.util

import exports
import keras
import numpy as np
import pytest
import tensorflow as tf
from gold import scene, torch_weights

from ssd_keras.core.class_names import COCO_CLASSES_BY_ID
from ssd_keras.data.images import decode_image, resize_image
from ssd_keras.importers.pth import read_pth
from ssd_keras.importers.torchvision import ssd_from_state_dict
from ssd_keras.losses import SmoothL1Loss, SoftmaxLoss

try:
    import torch
    from gold import torchvision_models
    from gold.make_torchvision_gold import import_torchvision, targets_in_pixels
except ModuleNotFoundError:
    torch = None

pytestmark = [
    pytest.mark.consumers,
    pytest.mark.skipif(torch is None, reason="NOT TESTED: PyTorch is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("torchvision") is None,
        reason="NOT TESTED: torchvision is not installed",
    ),
]
REAL_IMAGES = (
    "photos/owl.jpg",
    "photos/grace_hopper.bmp",
    "bccd/JPEGImages/BloodImage_00000.jpg",
)
NAMES = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")


@functools.cache
def both(name):
    """torchvision's model with random weights, and the same model imported."""
    theirs = torchvision_models.detector(name)
    arrays = torch_weights.random_state(torchvision_models.shapes_of(theirs), seed=1)
    return torchvision_models.with_weights(theirs, arrays), ssd_from_state_dict(arrays)


def resized(images, size) -> np.ndarray:
    """uint8 images of the model's size, which torchvision's transform does not resize."""
    return np.stack([np.uint8(np.round(resize_image(image, size))) for image in images])


@pytest.fixture(scope="module")
def photographs(shared):
    return [decode_image((shared / "data" / name).read_bytes()) for name in REAL_IMAGES]


@pytest.mark.parametrize("name", NAMES)
def test_same_outputs_and_detections_of_real_images(name, photographs):
    theirs, ours = both(name)
    images = resized(photographs, ours.image_size)
    with torch.no_grad():
        expected = [each.numpy() for each in torchvision_models.raw_outputs(theirs, images)]
    found = ours.predict_on_batch(images)
    for key, values in zip(("box_deltas", "class_logits"), expected, strict=True):
        difference = np.abs(found[key] - values).max()
        print(f"{name} {key}: largest difference {difference:.1e} of {np.abs(values).max():.1f}")
        assert np.ptp(values) > 10
        assert difference < 1e-4
    detections = ours.detect(images)
    for index, expected in enumerate(torchvision_models.detections(theirs, images)):
        found = [getattr(detections[index], key) for key in ("boxes", "scores", "labels")]
        # Outputs within 1e-4: a softmax changes by at most 1e-4 / 2, a box by 0.1 * 1e-4 for its
        # centre and as much for half its side.
        same = torch_weights.same_detections(found, expected, 5e-5, 2e-5)
        print(f"{name} image {index}: {same} of {len(expected[1])} detections")
        assert same == len(expected[1]) == len(detections[index]) >= 200


@pytest.mark.parametrize("name", NAMES)
def test_same_losses_and_gradients(name):
    theirs, ours = both(name)
    theirs = copy.deepcopy(theirs).train()
    for module in theirs.modules():
        # A batch's own statistics would magnify the last digits: the coarsest map has one cell.
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    images = resized(exports.images()[:3], ours.image_size)
    losses = theirs(torchvision_models.as_tensors(images), targets_in_pixels(images.shape[1]))
    parameters = dict(theirs.named_parameters())
    gradients = torch.autograd.grad(sum(losses.values()), list(parameters.values()))
    # An import of the gradients has them where ours stand. Running statistics have none.
    arrays = {key: np.zeros(shape) for key, shape in torchvision_models.shapes_of(theirs).items()}
    arrays |= {key: value.numpy() for key, value in zip(parameters, gradients, strict=True)}
    peer_gradients = ssd_from_state_dict(arrays).trainable_weights

    encoder = ours.target_encoder()
    encoded = [encoder(boxes, labels) for boxes, labels in scene.scene()]
    targets = {key: tf.stack([each[key] for each in encoded]) for key in encoded[0]}
    with tf.GradientTape() as tape:
        outputs = ours(images, training=False)
        box_loss = SmoothL1Loss()(targets["box_deltas"], outputs["box_deltas"])
        class_loss = SoftmaxLoss()(targets["class_logits"], outputs["class_logits"])
        loss = box_loss + class_loss
    found = tape.gradient(loss, [weight.value for weight in ours.trainable_weights])

    assert float(box_loss) == pytest.approx(losses["bbox_regression"].item(), rel=1e-5)
    assert float(class_loss) == pytest.approx(losses["classification"].item(), rel=1e-5)
    differences = []
    for gradient, peer_gradient in zip(found, peer_gradients, strict=True):
        expected = keras.ops.convert_to_numpy(peer_gradient).astype("float64")
        difference = np.linalg.norm(gradient.numpy() - expected)
        # No default box of the finest map is matched in this scene: nothing reaches its box head.
        differences.append(difference / max(np.linalg.norm(expected), 1e-7))
    print(f"{name}: losses {float(box_loss):.4f} and {float(class_loss):.4f}")
    print(f"gradients differ by {np.median(differences):.1e} of their norm, {max(differences):.1e} "
          "at most")  # fmt: skip
    # An activation within rounding of zero that falls on either side changes all layers before
    # it: torchvision's own float32 and float64 gradients of VGG16 are up to 5e-4 apart.
    assert np.median(differences) < 1e-5
    assert max(differences) < 5e-3


def test_file_of_torchvision_is_read(tmp_path):
    theirs, _ = both(NAMES[1])
    path = str(tmp_path / "model.pth")
    torch.save(theirs.state_dict(), path)
    expected = torch_weights.random_state(torchvision_models.shapes_of(theirs), seed=1)
    found = read_pth(path)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array)


def test_class_names_are_torchvisions():
    weights = import_torchvision().models.detection.SSD300_VGG16_Weights.COCO_V1
    names = weights.meta["categories"][1:]
    ours = ["N/A" if name.startswith("unused") else name for name in COCO_CLASSES_BY_ID]
    assert ours == names
