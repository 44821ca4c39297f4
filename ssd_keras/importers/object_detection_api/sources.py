"""Finds out what kind of file or folder of the TF Object Detection API a path is."""

import os
from collections.abc import Sequence
from typing import NamedTuple

TFLITE_IDENTIFIER = b"TFL3"
CONFIG, LABEL_MAP = "pipeline.config", "label_map.pbtxt"
FROZEN_GRAPH = "frozen_inference_graph.pb"
# Names of classes that a detector does not have.
UNNAMED = ("???", "background", "")
# Of a GraphDef: field 1, the first node, is a message.
FIRST_NODE = b"\n"


class NetworkSource(NamedTuple):
    """A file or folder and its kind: "pipeline", "saved_model", "tfjs", "frozen_graph" or
    "tflite".
    """

    kind: str
    path: str


def find_source(path: str) -> NetworkSource:
    """Returns the kind of a path by its content, and the path that holds the network.

    A folder may hold its network in a folder `saved_model`.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        # Configurations of the API's first version come with graphs alone.
        if {CONFIG, FROZEN_GRAPH} & set(os.listdir(path)) == {CONFIG}:
            return NetworkSource("pipeline", path)
        for folder in (path, os.path.join(path, "saved_model")):
            if os.path.isfile(os.path.join(folder, "saved_model.pb")):
                return NetworkSource("saved_model", folder)
        for name, kind in (("model.json", "tfjs"), (FROZEN_GRAPH, "frozen_graph")):
            if os.path.isfile(os.path.join(path, name)):
                return NetworkSource(kind, os.path.join(path, name))
        raise ValueError(
            f"the folder {path!r} holds no network of the TF Object Detection API; expected "
            f"{CONFIG} with a checkpoint, saved_model.pb, {FROZEN_GRAPH} or tf.js's model.json "
            "in it, or pass a .tflite file."
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path!r} does not exist; pass the path of a .tflite file, a frozen graph, or a "
            "folder with a SavedModel or a tf.js model."
        )
    if os.path.basename(path) == "saved_model.pb":
        return NetworkSource("saved_model", os.path.dirname(path) or ".")
    with open(path, "rb") as file:
        start = file.read(8)
    if start[4:] == TFLITE_IDENTIFIER:
        return NetworkSource("tflite", path)
    if start.lstrip().startswith(b"{"):
        return NetworkSource("tfjs", path)
    # What is nothing else is refused as a TFLite file.
    is_graph = path.endswith(".pb") or start.startswith(FIRST_NODE)
    return NetworkSource("frozen_graph" if is_graph else "tflite", path)


def without_background(path: str, names: Sequence[str], num_classes: int) -> Sequence[str]:
    """Returns the names without background; refuses another number than the model's classes."""
    if len(names) == num_classes + 1 and names[0] in UNNAMED:
        names = names[1:]
    if len(names) != num_classes:
        raise ValueError(
            f"the labels have {len(names)} names but {path!r} has {num_classes} classes; pass the "
            "labels of this model."
        )
    return names
