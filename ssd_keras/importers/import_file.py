"""Imports detectors and backbones by the name of their source."""

import os
from collections.abc import Sequence

import keras

from ssd_keras.core.files import check_writable, replacing
from ssd_keras.core.text import unknown_name
from ssd_keras.data.readers.label_map import read_names
from ssd_keras.importers import SOURCES
from ssd_keras.importers.caffe import import_caffe, import_caffe_backbone
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.importers.published import BACKBONES, Published, origin_of_file
from ssd_keras.importers.tflite_mobilenet_v2 import import_mobilenet_v2_backbone
from ssd_keras.importers.torchvision import import_torchvision, import_torchvision_backbone
from ssd_keras.models.finite_weights import check_finite
from ssd_keras.models.model_file import load_model_at
from ssd_keras.models.ssd import SSD
from ssd_keras.models.transfer import keep_classes

MODEL_SUFFIX, BACKBONE_SUFFIX = ".keras", ".weights.h5"
# The weights of a backbone fit every input size.
BACKBONE_IMAGE_SIZE = (300, 300)


def import_model(source: str, path: str, labels: str | None = None) -> SSD:
    """Reads a detector; `labels` is the path of its class names."""
    _check_source(source)
    if source == "keras":
        if labels:
            raise ValueError("a .keras file has its class names; leave out --labels.")
        return load_model_at(path, path)
    if source == "object-detection-api":
        return import_object_detection_api(path, labels)
    names = read_names(labels) if labels else None
    return import_caffe(path, names) if source == "caffe" else import_torchvision(path, names)


def import_published(weights: Published, *, progress: bool | None = None) -> SSD:
    """Reads a published detector, downloaded unless the cache has it."""
    with weights.file(progress) as path:
        return import_model(weights.source, path)


def import_backbone(source: str, path: str) -> keras.Model:
    """Reads the backbone of a classifier."""
    _check_source(source)
    if source == "keras":
        raise ValueError(
            f"source 'keras' is for detectors; write a {MODEL_SUFFIX} file instead of a backbone."
        )
    if source == "caffe":
        return import_caffe_backbone(path, BACKBONE_IMAGE_SIZE)
    if source == "torchvision":
        return import_torchvision_backbone(path, BACKBONE_IMAGE_SIZE)
    return import_mobilenet_v2_backbone(path, BACKBONE_IMAGE_SIZE)


def import_published_backbone(name: str, *, progress: bool | None = None) -> keras.Model:
    """Reads a published ImageNet backbone, downloaded unless the cache has it."""
    with BACKBONES[name].file(progress) as path:
        return import_backbone(BACKBONES[name].source, path)


def import_file(
    source: str,
    path: str,
    output: str,
    labels: str | None = None,
    classes: Sequence[str] | None = None,
) -> str:
    """Imports a detector or backbone, writes it for Keras, and returns a line about it.

    `labels` is the path of a detector's class names; `classes` are those that it keeps.
    """
    if not output.endswith((MODEL_SUFFIX, BACKBONE_SUFFIX)):
        raise ValueError(
            f"output {output!r} must end in {MODEL_SUFFIX} for a detector or in {BACKBONE_SUFFIX} "
            "for a backbone."
        )
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"the folder {directory!r} does not exist; create it first.")
    check_writable(output)
    if output.endswith(BACKBONE_SUFFIX):
        if classes:
            raise ValueError(
                f"a backbone has no classes; leave out --classes or write {MODEL_SUFFIX}."
            )
        backbone = import_backbone(source, path)
        check_finite(backbone, repr(path))
        with replacing(output) as temporary:
            backbone.save_weights(temporary)
        return f"wrote {output}: the backbone {backbone.name}, for the argument backbone_weights"
    model = import_model(source, path, labels)
    check_finite(model, repr(path))
    origin = model.origin if source == "keras" else origin_of_file(path)
    if classes:
        model = keep_classes(model, classes)
    model.origin = origin
    with replacing(output) as temporary:
        model.save(temporary)
    return f"wrote {output}: {model.name}, {len(model.class_names)} classes"


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise ValueError(unknown_name("source", source, SOURCES))
