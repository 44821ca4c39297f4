"""The requests that TF Serving replays when it loads a model, so that the first user need not wait.

Numbers and types are those of `prediction_log.proto`, `predict.proto` and `model.proto` in
tensorflow/serving. On the wire a map is a list of keys and values, and a message is its bytes.
"""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from ssd_keras.core.protobuf import Schema, message_class
from ssd_keras.exporters.signatures import ENCODED_FEATURE

WARM_UP_FILE = "tf_serving_warmup_requests"
SCHEMA: Schema = {
    "PredictionLog": (("predict_log", 6, "PredictLog", False),),
    "PredictLog": (("request", 1, "PredictRequest", False),),
    "PredictRequest": (("model_spec", 1, "ModelSpec", False), ("inputs", 2, "Input", True)),
    "ModelSpec": (("name", 1, "string", False), ("signature_name", 3, "string", False)),
    "Input": (("key", 1, "string", False), ("value", 2, "bytes", False)),
}
PredictionLog = message_class("ssd_keras_serving", SCHEMA, "PredictionLog")


def write_warm_up(path: str, model_name: str, image_size: tuple[int, int]) -> None:
    """Writes one request for each signature."""
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
            record = PredictionLog()
            request = record.predict_log.request
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            request.inputs.add(key=name, value=tf.make_tensor_proto(value).SerializeToString())
            writer.write(record.SerializeToString())


def _gradient_jpeg(image_size: tuple[int, int]) -> bytes:
    rows, columns = np.mgrid[: image_size[0], : image_size[1]]
    image = np.stack([rows, columns, rows + columns], axis=-1) % 256
    file = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(file, "JPEG")
    return file.getvalue()
