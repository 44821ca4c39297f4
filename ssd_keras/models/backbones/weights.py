"""Loads weights into backbones."""

import os
from collections.abc import Callable

import keras

from ssd_keras.core.text import first_cause, one_line
from ssd_keras.models.finite_weights import check_finite

# Loaders of backbones with ImageNet weights that Keras does not have, by name of the backbone.
# `ssd_keras.importers.imagenet` registers them here: importers build on backbones, so backbones
# do not import importers.
IMAGENET_LOADERS: dict[str, Callable[[], keras.Model]] = {}


def load_backbone(build: Callable[..., keras.Model], weights: str | None) -> keras.Model:
    """Calls `build(weights=...)`; `weights` is None, "imagenet" or the path of a weights file."""
    if weights != "imagenet":
        network = build(weights=None)
        if weights is not None:
            load_weights(network, weights)
        return network
    try:
        return build(weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        raise ValueError(
            f"ImageNet weights could not be downloaded ({one_line(str(error))}); pass the path of "
            "a weights file instead of 'imagenet' (--set model.backbone_weights=FILE), or None for "
            "random weights (--set model.backbone_weights=)."
        ) from error


def load_registered_imagenet(backbone: keras.Model) -> keras.Model:
    """Gives a backbone the ImageNet weights of `IMAGENET_LOADERS`."""
    backbone.set_weights(IMAGENET_LOADERS[backbone.name]().get_weights())
    return backbone


def load_weights(network: keras.Model, path: str) -> None:
    """Loads weights from a local file into a network."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"backbone weights {path!r} do not exist; pass the path of a .weights.h5 or .keras "
            "file."
        )
    try:
        network.load_weights(path)
    except Exception as error:
        raise ValueError(
            f"{path!r} does not hold weights of {network.name!r} ({first_cause(error)}); pass a "
            ".weights.h5 or .keras file that was saved from the same layers."
        ) from error
    check_finite(network, repr(path))
