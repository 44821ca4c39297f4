"""The bare network of a model, ready to be exported: float32, frozen, preprocessing inside."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ssd_keras.layers import Preprocessor
from ssd_keras.models.ssd import SSD

PRECISIONS = {"mixed_bfloat16": "float32", "mixed_float16": "float32"}


def in_float32(model: SSD) -> SSD:
    """The same model computing in float32, as exports do whatever it was trained in.

    Args:
        model: `SSD`, perhaps of mixed precision.

    Returns:
        the model itself where it computes in float32 already, else a copy with its weights.
    """
    config = model.get_config()
    plain = _replaced(config)
    if plain == config:
        return model
    copy = SSD.from_config(plain)
    copy.set_weights(model.get_weights())
    return copy


def uniform_preprocessor(model: SSD) -> Preprocessor | None:
    """The preprocessor where it treats all channels alike, as the coding of bytes can.

    Args:
        model: `SSD`.

    Returns:
        the layer, or None where it has a mean or scale for each channel, or swaps them.
    """
    layer = model.get_layer("preprocessor")
    is_uniform = len(set(layer.mean)) == 1 and np.size(layer.scale) == 1
    return layer if is_uniform and layer.channel_order == "rgb" else None


def frozen_network(
    model: SSD, dtype: str, preprocess: bool = True
) -> tf.types.experimental.ConcreteFunction:
    """The network with its weights as constants, for one picture.

    Args:
        model: `SSD` in float32.
        dtype: of the pictures, "uint8" or "float32".
        preprocess: False for a network of pictures that were preprocessed. Default True.

    Returns:
        concrete function from "images" [1, H, W, 3] in 0..255 to box deltas and class logits.
    """
    layers = model
    if not preprocess:
        layers = keras.Model(model.get_layer("preprocessor").output, model.output)
    signature = tf.TensorSpec((1, *model.image_size, 3), dtype, name="images")

    @tf.function(input_signature=[signature])
    def network(images):
        outputs = layers(tf.cast(images, tf.float32), training=False)
        return outputs["box_deltas"], outputs["class_logits"]

    return convert_variables_to_constants_v2(network.get_concrete_function())


def _replaced(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(entry) for entry in value)
    return PRECISIONS.get(value, value) if isinstance(value, str) else value
