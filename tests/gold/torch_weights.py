"""Weights and an image that NumPy makes from names and seeds, so that neither need be stored.

The script that makes the gold of imports and the tests that use it import this module.
"""

import zlib

import numpy as np

OUTPUTS = 91  # of torchvision's COCO detectors, background included


def random_state(shapes, seed=0):
    """Float32 arrays for PyTorch's names and shapes, like those of a trained network.

    Features stay near size 1 from layer to layer, batch normalisation statistics are not the
    initial ones, class logits spread by a few units and the background's are much larger.
    """
    return {name: _random_array(name, tuple(shape), seed) for name, shape in shapes.items()}


def _random_array(name, shape, seed):
    generator = np.random.default_rng(zlib.crc32(f"{seed} {name}".encode()))
    if name.endswith("running_var"):
        array = generator.uniform(0.5, 2.0, shape)
    elif name.endswith("scale_weight"):
        array = generator.uniform(10, 30, shape)
    elif len(shape) == 1 and name.endswith(".weight"):
        array = generator.uniform(0.3, 1.0, shape)
    elif len(shape) == 1:
        array = generator.normal(0, 0.2, shape)
    else:
        array = generator.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))
    if name == "backbone.features.0.weight":
        array /= 64  # VGG16's images are in -123..151, the others' near 1
    if name.startswith("head.") and shape[1:] and shape[-1] == 1:
        array *= 5  # SSDLite's batch normalisation leaves less of its features
    if "classification_head" in name and shape[0] % OUTPUTS == 0:
        array *= 1.5
        if len(shape) == 1:
            array.reshape(-1, OUTPUTS)[:, 0] += 11
    return array.astype(np.float32)


def image(size, seed=0):
    """Coarse blocks and fine noise, uint8 [height, width, 3]."""
    generator = np.random.default_rng(seed)
    height, width = size
    blocks = generator.integers(0, 256, (-(-height // 32), -(-width // 32), 3))
    coarse = np.kron(blocks, np.ones((32, 32, 1)))[:height, :width]
    return np.uint8(0.7 * coarse + 0.3 * generator.integers(0, 256, (height, width, 3)))


def normalized(images):
    """The input of torchvision's classifiers: float32 of uint8 images, ImageNet's statistics."""
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return ((np.asarray(images, np.float64) / 255 - mean) / deviation).astype(np.float32)


def same_detections(found, expected, score_tolerance=1e-5, box_tolerance=1e-5):
    """Counts the detections of `expected` that have a partner in `found`.

    Both are boxes [K, 4], scores [K] and labels [K] of one image. Partners have the same label, and
    scores and boxes within the tolerances. The order may differ.
    """
    boxes, scores, labels = found
    free = np.ones(len(scores), bool)
    for box, score, label in zip(*expected, strict=True):
        fits = free & (labels == label) & (np.abs(scores - score) <= score_tolerance)
        fits &= np.abs(boxes - box).max(axis=1) <= box_tolerance
        free[np.flatnonzero(fits)[:1]] = False
    return int((~free).sum())
