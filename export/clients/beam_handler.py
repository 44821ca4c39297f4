"""Detects objects in a Beam pipeline: python beam_handler.py 'photos/*.jpg' --model detector/1

It needs apache-beam and TensorFlow, and reads a SavedModel of `ssd-keras export`. Another pipeline
takes `SavedModelHandler` for its `RunInference`; elements are the bytes of images of any sizes.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io import fileio
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

Row = dict[str, Any]


class SavedModelHandler(ModelHandler[bytes, Row, Any]):
    """Gives bytes of image files to the signature serving_default of a SavedModel.

    Beam's own TensorFlow handler loads a Keras model and stacks images, which must be of one size.
    """

    def __init__(self, path: str, max_batch_size: int = 8) -> None:
        super().__init__()
        self._path, self._max_batch_size = path, max_batch_size

    def load_model(self) -> Any:
        """Loads the SavedModel, once in each process."""
        import tensorflow as tf

        return tf.saved_model.load(self._path)

    def run_inference(
        self, batch: Sequence[bytes], model: Any, inference_args: Mapping | None = None
    ) -> Iterator[Row]:
        """Yields the detections of each image; a broken one has none and harms no other."""
        import tensorflow as tf

        found = model.signatures["serving_default"](image_bytes=tf.constant(list(batch)))
        columns = {name: value.numpy() for name, value in found.items()}
        return (row_of(columns, index) for index in range(len(batch)))

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Bounds the number of images in a batch."""
        return {"min_batch_size": 1, "max_batch_size": self._max_batch_size}

    def get_metrics_namespace(self) -> str:
        """Begins the names of Beam's metrics."""
        return "SavedModelHandler"


def row_of(columns: Mapping[str, np.ndarray], index: int) -> Row:
    """Returns one image of a batch; boxes are top, left, bottom, right in 0..1 of the image."""
    count = columns["num_detections"][index]
    names = columns["detection_class_names"][index, :count]
    return {
        "image_is_valid": bool(columns["image_is_valid"][index]),
        "boxes": columns["detection_boxes"][index, :count].tolist(),
        "scores": columns["detection_scores"][index, :count].tolist(),
        "class_names": [name.decode() for name in names],
    }


def to_line(result: tuple[str, Row]) -> str:
    """Returns an image's detections as JSON."""
    path, row = result
    return json.dumps({"image": path, **row}, ensure_ascii=False)


def detect(images: Iterable[str], model: str, output: str, options: PipelineOptions) -> None:
    """Runs a pipeline from files to JSON lines; its runner may be any of Beam's."""
    handler = KeyedModelHandler(SavedModelHandler(model))
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create(list(images))
            | fileio.MatchAll()
            | fileio.ReadMatches()
            | beam.Map(lambda file: (file.metadata.path, file.read()))
            | RunInference(handler)
            | beam.Map(to_line)
            | beam.io.WriteToText(output, file_name_suffix=".jsonl", shard_name_template="-SSSSS")
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Other arguments are Beam's, such as --runner."
    )
    parser.add_argument("images", nargs="+", help="files or patterns, also of object storages")
    parser.add_argument("--model", required=True, help="SavedModel that `ssd-keras export` wrote")
    parser.add_argument("--output", required=True, help="beginning of the files to write")
    parsed, others = parser.parse_known_args()
    if "://" not in parsed.model and not os.path.isfile(f"{parsed.model}/saved_model.pb"):
        print(f"error: {parsed.model!r} is no SavedModel; pass its folder", file=sys.stderr)
        return 2
    detect(parsed.images, parsed.model, parsed.output, PipelineOptions(others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
