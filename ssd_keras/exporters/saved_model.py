"""A model as a SavedModel that TF Serving runs: signatures, labels, warm-up requests."""

import io
import os
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

from ssd_keras.exporters.network import in_precision
from ssd_keras.exporters.signatures import ENCODED_FEATURE, ServedDetector
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite.metadata import LABELS_FILE

WARM_UP_FILE = "tf_serving_warmup_requests"


def write_saved_model(
    model: SSD,
    path: str,
    post_process: PostProcess | None = None,
    precision: str = "float32",
    weights: str = "constants",
) -> None:
    """Writes a SavedModel; the choices are those of `ssd_keras.exporters.formats`."""
    model = in_precision(model, precision)
    with tempfile.TemporaryDirectory() as directory:
        labels_file = os.path.join(directory, LABELS_FILE)
        with open(labels_file, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in model.class_names)
        detector = ServedDetector(model, labels_file, post_process, weights)
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel("ERROR")  # it would log a path that is moved later
        try:
            tf.saved_model.save(detector, path, signatures=detector.signatures())
        finally:
            logger.setLevel(level)
    extra = os.path.join(path, "assets.extra")
    os.makedirs(extra)
    write_warm_up(os.path.join(extra, WARM_UP_FILE), model.name, model.image_size)


def write_warm_up(path: str, model_name: str, image_size: tuple[int, int]) -> None:
    """Writes one request for each signature; TF Serving replays them when it loads a model."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    encoded = _gradient_jpeg(image_size)
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    example = tf.train.Example(features=tf.train.Features(feature={ENCODED_FEATURE: feature}))
    inputs = {
        "serving_default": ("image_bytes", [encoded]),
        "image_tensor": ("images", tf.io.decode_jpeg(encoded)[None]),
        "tf_example": ("examples", [example.SerializeToString()]),
    }
    with tf.io.TFRecordWriter(path) as writer:
        for signature, (name, value) in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())


def _gradient_jpeg(image_size: tuple[int, int]) -> bytes:
    rows, columns = np.mgrid[: image_size[0], : image_size[1]]
    image = np.stack([rows, columns, rows + columns], axis=-1) % 256
    file = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(file, "JPEG")
    return file.getvalue()
