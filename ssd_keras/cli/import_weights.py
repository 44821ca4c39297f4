"""`ssd-keras import`."""

import argparse

from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.importers import SOURCES

HELP = "read weights that were trained elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("file", help=".pth, .caffemodel or .tflite file")
    parser.add_argument("--output", required=True, help=".keras, or .weights.h5 for a backbone")
    parser.add_argument("--labels", help="text file, one class name a line; default: known names")
    parser.set_defaults(run=run)


def run(source: str, file: str, output: str, labels: str | None) -> None:
    start_tensorflow()
    from ssd_keras.importers.import_file import import_file

    print(import_file(source, file, output, labels))
