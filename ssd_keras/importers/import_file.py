"""Detectors and backbones that were trained elsewhere, by the name of their source."""

import os

import keras

from ssd_keras.core.files import replacing
from ssd_keras.data.readers.label_map import read_names
from ssd_keras.importers import SOURCES
from ssd_keras.importers.caffe import import_caffe, import_caffe_backbone
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.importers.pth import read_pth
from ssd_keras.importers.published import BACKBONES, Published
from ssd_keras.importers.tflite_mobilenet_v2 import import_mobilenet_backbone
from ssd_keras.importers.torchvision import torchvision_resnet, torchvision_ssd
from ssd_keras.models.ssd import SSD

MODEL_ENDING, BACKBONE_ENDING = ".keras", ".weights.h5"
# The weights of a backbone fit every input size.
BACKBONE_IMAGE_SIZE = (300, 300)


def import_model(source: str, path: str, labels: str | None = None) -> SSD:
    """Reads a detector that was trained elsewhere.

    Args:
        source: "torchvision" (a ``.pth`` of `ssd300_vgg16` or `ssdlite320_mobilenet_v3_large`),
            "caffe" (a ``.caffemodel`` of SSD300 or SSD512 on VGG16) or "object-detection-api" (a
            ``.tflite`` of an SSD MobileNet of the TF Object Detection API).
        path: the file.
        labels: text file with one class name a line, without background. Default: the names in
            the file, or those of COCO or VOC by the number of classes.

    Returns:
        `SSD`, ready to detect, to be trained on, or to be exported.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when it is damaged or holds something else.

    Example:

        model = import_model("torchvision", "ssd300_vgg16_coco-b556d3b4.pth")
        model.save("coco.keras")
    """
    _check_source(source)
    if source == "object-detection-api":
        return import_object_detection_api(path, labels)
    names = read_names(labels) if labels else None
    if source == "caffe":
        return import_caffe(path, names)
    return torchvision_ssd(read_pth(path), names, source=repr(path))


def import_published(weights: Published, *, progress: bool | None = None) -> SSD:
    """Reads a detector that others published, fetched if the cache does not have it.

    Args:
        weights: a value of `ssd_keras.importers.published.DETECTORS`.
        progress: show a progress bar. Default: on a terminal.

    Returns:
        `SSD`.

    Raises:
        ValueError: when it cannot be fetched.

    Example:

        model = import_published(DETECTORS["torchvision_ssd300_vgg16_coco"])
    """
    with weights.file(progress) as path:
        return import_model(weights.source, path)


def import_backbone(source: str, path: str) -> keras.Model:
    """Reads a classifier's backbone, from which trainings start.

    Args:
        source: "torchvision" (a ``.pth`` of `resnet18` or `resnet50`), "caffe" (a
            ``.caffemodel`` of the ILSVRC VGG16 with reduced fc layers) or "object-detection-api"
            (a ``.tflite`` of a MobileNetV2 that classifies, which that API starts from).
        path: the file.

    Returns:
        the backbone; ``backbone.save_weights("name.weights.h5")`` makes the file that the argument
        `backbone_weights` of models takes.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged or holds something else.
    """
    _check_source(source)
    if source == "caffe":
        return import_caffe_backbone(path, BACKBONE_IMAGE_SIZE)
    if source == "torchvision":
        return torchvision_resnet(read_pth(path), BACKBONE_IMAGE_SIZE, source=repr(path))
    return import_mobilenet_backbone(path, BACKBONE_IMAGE_SIZE)


def import_published_backbone(name: str, *, progress: bool | None = None) -> keras.Model:
    """Reads an ImageNet backbone that others published, fetched if the cache does not have it.

    Args:
        name: a key of `ssd_keras.importers.published.BACKBONES`.
        progress: show a progress bar. Default: on a terminal.

    Returns:
        the backbone.

    Raises:
        ValueError: when it cannot be fetched.

    Example:

        backbone = import_published_backbone("resnet18")
    """
    with BACKBONES[name].file(progress) as path:
        return import_backbone(BACKBONES[name].source, path)


def import_file(source: str, path: str, output: str, labels: str | None = None) -> str:
    """Reads what was trained elsewhere and writes it in Keras' form.

    Args:
        source: see `import_model` and `import_backbone`.
        path: the file to read.
        output: a path ending in ".keras" for a detector, in ".weights.h5" for a backbone. Nothing
            is written where the file is refused.
        labels: see `import_model`.

    Returns:
        one line that describes what was written.

    Raises:
        FileNotFoundError: when a file or the output's directory is missing.
        ValueError: when the file is damaged or holds something else, or `output` ends otherwise.
    """
    if not output.endswith((MODEL_ENDING, BACKBONE_ENDING)):
        raise ValueError(
            f"output {output!r} must end in {MODEL_ENDING} for a detector or in {BACKBONE_ENDING} "
            "for a backbone."
        )
    directory = os.path.dirname(output) or "."
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"the directory {directory!r} does not exist; create it first.")
    if output.endswith(BACKBONE_ENDING):
        backbone = import_backbone(source, path)
        with replacing(output) as beside:
            backbone.save_weights(beside)
        return f"wrote {output}: the backbone {backbone.name}, for the argument backbone_weights"
    model = import_model(source, path, labels)
    with replacing(output) as beside:
        model.save(beside)
    return f"wrote {output}: {model.name}, {len(model.class_names)} classes"


def _check_source(source):
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is unknown; choose one of {', '.join(SOURCES)}.")
