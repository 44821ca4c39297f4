"""A model for Triton Inference Server: a folder of its model repository, with an ONNX file."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd_keras.exporters import onnx
from ssd_keras.exporters.exported_detector import ExportedDetector
from ssd_keras.exporters.formats import NUM_THREADS
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

start = onnx.start  # of `FormatModule`
MODEL_FILE = os.path.join("1", "model.onnx")
# Without the model's name, which is the folder's. Dims are those of one image, and a number has the
# dims 1, which `reshape` takes away.
CONFIG = """\
# Read by Triton Inference Server; this folder's name is the model's.
backend: "onnxruntime"
max_batch_size: {max_batch_size}
input [
  {{ name: "images" data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] }}
]
output [
  {{ name: "detection_boxes" data_type: TYPE_FP32 dims: [ {slots}, 4 ] }},
  {{ name: "detection_classes" data_type: TYPE_INT32 dims: [ {slots} ] }},
  {{ name: "detection_scores" data_type: TYPE_FP32 dims: [ {slots} ] }},
  {{ name: "num_detections" data_type: TYPE_INT32 dims: [ 1 ] reshape {{ shape: [ ] }} }}
]
# Requests wait this long for others, to run as one batch.
dynamic_batching {{ max_queue_delay_microseconds: 5000 }}
# The first call is slow, so the server makes it before it is ready.
model_warmup [
  {{
    name: "one image"
    batch_size: 1
    inputs {{
      key: "images"
      value {{ data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] zero_data: true }}
    }}
  }}
]
# A JSON list; classes are numbers from 0 in this order.
parameters {{ key: "class_names" value {{ string_value: {class_names} }} }}
"""


def write(
    model: SSD,
    path: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    **options: str,
) -> None:
    """See `FormatModule`."""
    os.makedirs(os.path.join(path, os.path.dirname(MODEL_FILE)))
    onnx.write(model, os.path.join(path, MODEL_FILE), post_process, images, batch="any")
    height, width = model.image_size
    config = CONFIG.format(
        max_batch_size=options["max_batch_size"],
        height=height,
        width=width,
        slots=post_process.max_detections,
        # JSON of ASCII characters, in quotes: JSON's escapes of quotes are those of the format.
        class_names=json.dumps(json.dumps(list(model.class_names))),
    )
    Path(path, "config.pbtxt").write_text(config, encoding="utf-8")


def check_operators(path: str) -> dict[str, int]:
    """See `FormatModule`."""
    return onnx.check_operators(os.path.join(path, MODEL_FILE))


def load(path: str, num_threads: int = NUM_THREADS) -> ExportedDetector:
    """See `FormatModule`."""
    return onnx.load(os.path.join(path, MODEL_FILE), num_threads)


def describe(path: str) -> list[str]:
    """See `FormatModule`."""
    return onnx.describe(os.path.join(path, MODEL_FILE))
