"""Registers ImageNet weights that Keras does not have, and files of other projects."""

import functools

import keras

from ssd_keras.importers.published import BACKBONES
from ssd_keras.models.backbones.weights import FILE_LOADERS, IMAGENET_LOADERS


def _load(name: str) -> keras.Model:
    from ssd_keras.importers.import_file import import_published_backbone  # needs TensorFlow

    return import_published_backbone(name)


def _read(source: str, path: str) -> keras.Model:
    from ssd_keras.importers.import_file import import_backbone

    return import_backbone(source, path)


SOURCES_BY_ENDING = {
    ".pth": "torchvision",
    ".tflite": "object-detection-api",
    ".caffemodel": "caffe",
}
FILE_LOADERS.update(
    {ending: functools.partial(_read, source) for ending, source in SOURCES_BY_ENDING.items()}
)
IMAGENET_LOADERS.update({name: functools.partial(_load, name) for name in BACKBONES})
