"""Registers ImageNet weights that Keras does not have: torchvision's of ResNet18 and ResNet50."""

import functools

import keras

from ssd_keras.importers.published import BACKBONES
from ssd_keras.models.backbones.weights import IMAGENET_LOADERS


def _load(name: str) -> keras.Model:
    from ssd_keras.importers.import_file import import_published_backbone  # needs TensorFlow

    return import_published_backbone(name)


IMAGENET_LOADERS.update({name: functools.partial(_load, name) for name in BACKBONES})
