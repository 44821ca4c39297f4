"""Weights that others published: address, checksum and licence.

Addresses and checksums are the publishers'. The weights are not part of this project.
"""

import contextlib
import dataclasses
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping

from ssd_keras.core.origin import Origin

PYTORCH = "https://download.pytorch.org/models"
OPEN_MODEL_ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2021.4"
MEDIAPIPE = "https://storage.googleapis.com/mediapipe-assets"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published file of weights."""

    source: str  # one of `ssd_keras.importers.SOURCES`
    address: str
    sha256: str  # of the file at the address
    max_bytes: int  # of the same file; of torchvision's, what their rounded sizes allow
    licence: str  # SPDX name
    member: str = ""  # path inside the file if that is an archive, else ""

    def origin(self, name: str) -> Origin:
        """Returns the origin of a model with these weights."""
        return Origin(name, self.address, self.licence)

    @contextlib.contextmanager
    def file(self, progress: bool | None = None) -> Iterator[str]:
        """Gives the path of a local copy, downloaded unless the cache has it."""
        from ssd_keras.core.downloads import fetch  # its packages are not needed to list names

        path = fetch(self.address, self.sha256, self.max_bytes, progress=progress)
        if not self.member:
            yield path
            return
        with tempfile.TemporaryDirectory() as directory, tarfile.open(path) as archive:
            archive.extract(self.member, directory, filter="data")
            yield os.path.join(directory, self.member)


def _mebibytes(count: float) -> int:
    return int(count * 2**20)


# By the name of the preset.
DETECTORS: Mapping[str, Published] = {
    "torchvision_ssd300_vgg16_coco": Published(
        "torchvision",
        f"{PYTORCH}/ssd300_vgg16_coco-b556d3b4.pth",
        "b556d3b43ab6c3f63d81bfb8835fe8756ac22da664357da100dccf96b6a6b42d",
        _mebibytes(135.989),
        "BSD-3-Clause",
    ),
    "torchvision_ssdlite320_mobilenet_v3_large_coco": Published(
        "torchvision",
        f"{PYTORCH}/ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        "a79551df90c79834bcd3bb3845ef9d966b5449a3a9b2833ae8404778ca5d65d2",
        _mebibytes(13.419),
        "BSD-3-Clause",
    ),
    "caffe_ssd300_vgg16_voc": Published(
        "caffe",
        f"{OPEN_MODEL_ZOO}/ssd300/models_VGGNet_VOC0712Plus_SSD_300x300_ft.tar.gz",
        "e3eb9794a33eb77e6798f396df453123c249a1df554e42a3302eb4aa20a8f2ee",
        97_789_219,
        "BSD-2-Clause",
        "models/VGGNet/VOC0712Plus/SSD_300x300_ft/"
        "VGG_VOC0712Plus_SSD_300x300_ft_iter_160000.caffemodel",
    ),
    "caffe_ssd512_vgg16_voc": Published(
        "caffe",
        f"{OPEN_MODEL_ZOO}/ssd512/models_VGGNet_VOC0712Plus_SSD_512x512.tar.gz",
        "2d98a6ddd5b4cb0ba59a37fe5d50020457cfe104d45873c3ea43d1e6dcddd12d",
        100_991_061,
        "BSD-2-Clause",
        "models/VGGNet/VOC0712Plus/SSD_512x512/VGG_VOC0712Plus_SSD_512x512_iter_240000.caffemodel",
    ),
    "object_detection_api_ssd300_mobilenet_v1_coco": Published(
        "object-detection-api",
        f"{MEDIAPIPE}/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite",
        "61d598093ed03ed41aa47c3a39a28ac01e960d6a810a5419b9a5016a1e9c469b",
        4_185_023,
        "Apache-2.0",
    ),
}

# By the name of the backbone: "imagenet" weights that Keras does not have.
BACKBONES: Mapping[str, Published] = {
    "resnet18": Published(
        "torchvision",
        f"{PYTORCH}/resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        _mebibytes(44.662),
        "BSD-3-Clause",
    ),
    "resnet50": Published(
        "torchvision",
        f"{PYTORCH}/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        _mebibytes(97.782),
        "BSD-3-Clause",
    ),
}

# By the name of the backbone: "imagenet" weights of keras.applications, and their licences as
# Keras' documentation and the repositories that they were ported from state them.
KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"
KERAS_BACKBONES: Mapping[str, Origin] = {
    "vgg16": Origin("keras.applications.VGG16", f"{KERAS_WEIGHTS}/vgg16", "CC-BY-4.0"),
    "resnet50": Origin("keras.applications.ResNet50", f"{KERAS_WEIGHTS}/resnet", "MIT"),
    "mobilenet_v2": Origin(
        "keras.applications.MobileNetV2", f"{KERAS_WEIGHTS}/mobilenet_v2", "Apache-2.0"
    ),
}


def origin_of_file(path: str) -> Origin:
    """Returns the origin of a file of weights: the published file that it is, else its name.

    A folder has its name as origin.
    """
    from ssd_keras.core.downloads import checksum

    if os.path.isdir(path):
        return Origin(os.path.basename(os.path.abspath(path)))
    sha256 = checksum(path)
    for name, weights in {**DETECTORS, **BACKBONES}.items():
        if weights.sha256 == sha256:
            return weights.origin(name)
    return Origin(os.path.basename(path))
