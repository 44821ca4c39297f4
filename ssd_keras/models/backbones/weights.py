"""Loads weights into backbones."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import keras

from ssd_keras.core.text import first_cause, one_line
from ssd_keras.models.finite_weights import check_finite

# Loaders of backbones with ImageNet weights that Keras does not have, by name of the backbone, and
# of other projects' files, by their ending. `ssd_keras.importers.imagenet` registers them here:
# importers build on backbones, so backbones do not import importers.
IMAGENET_LOADERS: dict[str, Callable[[], keras.Model]] = {}
FILE_LOADERS: dict[str, Callable[[str], keras.Model]] = {}
RANDOM = "random"
DOWNLOAD_SECONDS = 20  # without an answer; Keras waits for ever


def is_random(weights: str | None) -> bool:
    """Whether weights are random: None or the word."""
    return weights is None or weights == RANDOM


def load_backbone(
    build: Callable[..., keras.Model], weights: str | None, takes_keras_files: bool = False
) -> keras.Model:
    """Calls `build(weights=...)`, then loads a file.

    `weights` is None or "random", "imagenet", or the path of a file. With `takes_keras_files`,
    `build` takes the files of keras.applications as well.
    """
    if weights == "imagenet":
        return download(lambda: build(weights="imagenet"))
    if is_random(weights):
        return build(weights=None)
    path = os.fspath(weights or "")
    if takes_keras_files and is_keras_applications_file(path):
        check_exists(path)
        with weight_errors(path, "this backbone"):
            network = build(weights=path)
        check_finite(network, repr(path))
        return network
    network = build(weights=None)
    load_weights(network, path)
    return network


def is_keras_applications_file(path: str) -> bool:
    """Whether a file is named as those of keras.applications are."""
    return path.endswith((".h5", ".hdf5")) and not path.endswith(".weights.h5")


def download(build: Callable[[], keras.Model]) -> keras.Model:
    """Calls what downloads ImageNet weights; says in one line what to do without a network."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        return build()
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        text = " ".join(str(error).split())
        where = "download this file on another machine" if "://" in text else "take a weights file"
        raise ValueError(
            f"ImageNet weights could not be downloaded ({one_line(text)}); {where} and pass "
            "--backbone-weights FILE, or start from random weights: --backbone-weights random (in "
            "Python backbone_weights=...)."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def load_registered_imagenet(backbone: keras.Model) -> keras.Model:
    """Gives a backbone the ImageNet weights of `IMAGENET_LOADERS`."""
    backbone.set_weights(IMAGENET_LOADERS[backbone.name]().get_weights())
    return backbone


def load_weights(network: keras.Model, path: str) -> None:
    """Loads weights from a local file into a network."""
    path = os.fspath(path)
    check_exists(path)
    with weight_errors(path, network.name):
        load = FILE_LOADERS.get(os.path.splitext(path)[1].lower())
        if load:
            _copy_layers(load(path), network)
        else:
            network.load_weights(path)
    check_finite(network, repr(path))


def check_exists(path: str) -> None:
    """Raises a FileNotFoundError for a path without a file."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"backbone weights {path!r} do not exist; pass the path of a file, imagenet or random."
        )


@contextlib.contextmanager
def weight_errors(path: str, name: str) -> Iterator[None]:
    """Says in one line that a file does not fit."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{path!r} does not hold weights of {name!r} ({first_cause(error)}); pass a "
            ".weights.h5 or .keras file that was saved from the same layers, or a classifier's "
            "file for this backbone: .h5 of keras.applications, .pth of torchvision, .tflite."
        ) from error


def _copy_layers(source: keras.Model, network: keras.Model) -> None:
    if source.name != network.name:
        raise ValueError(f"it holds {source.name}")
    names = {layer.name for layer in source.layers}
    for layer in network.layers:
        if layer.weights:
            weights = source.get_layer(layer.name).get_weights() if layer.name in names else []
            if [each.shape for each in weights] != [tuple(each.shape) for each in layer.weights]:
                options = "alpha, and batch_norm=false for .tflite" if weights else "the options"
                raise ValueError(f"its layer {layer.name} is another; compare {options}")
            layer.set_weights(weights)
