"""Imports detectors of the TF Object Detection API."""

import os

from ssd_keras.data.readers.label_map import read_label_map, read_name_lines
from ssd_keras.importers.object_detection_api.graph_detector import ssd_from_graph
from ssd_keras.importers.object_detection_api.graph_files import (
    read_frozen_graph,
    read_saved_model,
    read_tfjs_graph,
)
from ssd_keras.importers.object_detection_api.pipeline_detector import import_pipeline
from ssd_keras.importers.object_detection_api.sources import LABEL_MAP, UNNAMED, find_source
from ssd_keras.importers.object_detection_api.tflite import import_tflite
from ssd_keras.models.ssd import SSD

GRAPH_READERS = {
    "frozen_graph": read_frozen_graph,
    "saved_model": read_saved_model,
    "tfjs": read_tfjs_graph,
}


def import_object_detection_api(path: str, labels: str | None = None) -> SSD:
    """Reads a detector: its training's folder, a SavedModel, a frozen or tf.js graph, or TFLite.

    `labels` is a label map (.pbtxt) or a file of names, one a line; default the label map beside
    the model, or the names in a TFLite file. Weights are floats, also where the file has bytes.
    """
    source = find_source(path)
    folder = source.path if os.path.isdir(source.path) else os.path.dirname(source.path)
    for beside in (folder, os.path.dirname(os.path.abspath(folder))):
        if labels is None and os.path.isfile(os.path.join(beside, LABEL_MAP)):
            labels = os.path.join(beside, LABEL_MAP)
    names = None if labels is None else read_class_names(labels)
    if source.kind == "pipeline":
        return import_pipeline(source.path, names)
    if source.kind == "tflite":
        return import_tflite(source.path, names)
    return ssd_from_graph(GRAPH_READERS[source.kind](source.path), names)


def read_class_names(path: str) -> list[str]:
    """Returns the names of a label map by id from 1, "???" for gaps, or the lines of a file."""
    if not path.endswith(".pbtxt"):
        return read_name_lines(path)
    name_of = read_label_map(path)[0].name_of
    return [name_of.get(number, UNNAMED[0]) for number in range(1, 1 + max(name_of))]
