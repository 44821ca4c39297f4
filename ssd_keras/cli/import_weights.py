"""`ssd-keras import`."""

import argparse

from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.importers import SOURCES

HELP = "make a model of weights that another project trained"
DESCRIPTION = (
    "Reads weights of torchvision (.pth), of Caffe's SSD (.caffemodel) or of the TensorFlow Object "
    "Detection API (the folder of pipeline.config and checkpoint, a SavedModel, a frozen or tf.js "
    "graph, or a .tflite file), or a detector of this package (.keras, RUN), and writes a .keras "
    "file; or, of the classifier MobileNetV2 as .tflite, a .weights.h5 file for "
    "`--set model.backbone_weights=FILE`."
)
EXAMPLES = (
    "ssd-keras import torchvision ssd300_vgg16_coco-b556d3b4.pth --output coco.keras",
    "ssd-keras import object-detection-api my_training --output mine.keras",
    "ssd-keras import keras coco.keras --classes person,car --output people_and_cars.keras",
    "ssd-keras import object-detection-api detect.tflite --labels labels.txt --output coco.keras",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    given = parser.add_argument_group("input")
    given.add_argument(
        "source",
        choices=SOURCES,
        metavar="SOURCE",
        help=f"who trained it: {', '.join(SOURCES)}",
    )
    given.add_argument(
        "file",
        metavar="FILE",
        help=".pth, .caffemodel, .tflite, .pb or .keras file, a folder, or RUN",
    )
    given.add_argument(
        "--labels",
        metavar="FILE",
        help="text file with a class name in each line, or label map (.pbtxt); default: the names "
        "in or beside the file, or those of the published models",
    )
    given.add_argument(
        "--classes",
        metavar="NAME,NAME",
        help="cut the detector to these classes, without training; default: all",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output", required=True, metavar="FILE", help=".keras, or .weights.h5 for a backbone"
    )
    parser.set_defaults(run=run)


def run(source: str, file: str, output: str, labels: str | None, classes: str | None) -> None:
    start_tensorflow()
    from ssd_keras.importers.import_file import import_file

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    print(import_file(source, file, output, labels, names))
