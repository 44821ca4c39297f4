"""Registers ImageNet weights that Keras does not have: torchvision's of ResNet18 and ResNet50."""

from collections.abc import Callable

import keras

from ssd_keras.importers.published import BACKBONES
from ssd_keras.models.backbones.weights import IMAGENET_LOADERS


def _loader(name: str) -> Callable[[], keras.Model]:
    def load() -> keras.Model:
        from ssd_keras.importers.import_file import import_published_backbone  # needs TensorFlow

        return import_published_backbone(name)

    return load


IMAGENET_LOADERS.update({name: _loader(name) for name in BACKBONES})
