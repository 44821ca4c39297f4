"""The network of a model, ready to be exported: in one precision, or frozen and alone."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ssd_keras.layers import Preprocessor
from ssd_keras.models.ssd import SSD


def in_precision(model: SSD, precision: str = "float32") -> SSD:
    """The same model computing in one precision, whatever it was trained in.

    Args:
        model: `SSD`, perhaps of mixed precision.
        precision: "float32" (default), or "bfloat16": weights and arithmetic of its layers, while
            box deltas and class logits come out as float32.

    Returns:
        the model itself where it computes so already, else a copy with its weights.
    """
    config = model.get_config()
    wanted = _with_policy(config, precision)
    if wanted == config:
        return model
    copy = SSD.from_config(wanted)
    copy.set_weights(model.get_weights())
    return copy


def with_hard_swish_in_parts(model: SSD) -> SSD:
    """The same model with each hard swish of its trunk as a sum, a clip and two products.

    XNNPACK has no int8 kernel for the operator HARD_SWISH: each one would end its part of the
    network and go to a plain kernel, which took half of the time of SSDLite320-MobileNetV3.

    Args:
        model: `SSD`.

    Returns:
        the model itself where it has no hard swish, else a copy with its weights.
    """
    config = model.get_config()
    parts = keras.saving.serialize_keras_object(hard_swish_in_parts)
    wanted = _with_activation(config, "hard_silu", parts)
    if wanted == config:
        return model
    copy = SSD.from_config(wanted)
    copy.set_weights(model.get_weights())
    return copy


@keras.saving.register_keras_serializable("ssd_keras")
def hard_swish_in_parts(x: Any) -> Any:
    """x relu6(x + 3) / 6, as operators that the converter does not join to one again.

    Args:
        x: float tensor of any shape.

    Returns:
        same shape; hard swish and 2e-5 of it more.

    Example:

    >>> [round(float(value), 3) for value in hard_swish_in_parts(keras.ops.array([-3.0, 1.0, 4.0]))]
    [-0.0, 0.667, 4.0]
    """
    # With exactly 1 / 6 it would join them. In this order: calibration takes the range of a first
    # factor from what overwrites it, and the product is never beyond x.
    return x * (keras.ops.relu6(x + 3.0) * 0.16667)


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
    model: SSD, dtype: str, preprocess: bool = True, batch_size: int | None = 1
) -> tf.types.experimental.ConcreteFunction:
    """The network with its weights as constants.

    Args:
        model: `SSD`.
        dtype: of the pictures, "uint8" or "float32".
        preprocess: False for a network of pictures that were preprocessed. Default True.
        batch_size: pictures of a call; None: any number. Default 1.

    Returns:
        as of `network_function`.
    """
    function = network_function(model, dtype, preprocess, batch_size)
    return convert_variables_to_constants_v2(function)


def network_function(
    model: SSD, dtype: str, preprocess: bool = True, batch_size: int | None = 1
) -> tf.types.experimental.ConcreteFunction:
    """The network with its weights as variables.

    Args:
        model: `SSD`.
        dtype: as of `frozen_network`, like the others.
        preprocess: see there.
        batch_size: see there.

    Returns:
        concrete function from "images" [B, H, W, 3] in 0..255 to box deltas and class logits.
    """
    layers = model
    if not preprocess:
        layers = keras.Model(model.get_layer("preprocessor").output, model.output)
    signature = tf.TensorSpec((batch_size, *model.image_size, 3), dtype, name="images")

    @tf.function(input_signature=[signature])
    def network(images):
        outputs = layers(tf.cast(images, tf.float32), training=False)
        return outputs["box_deltas"], outputs["class_logits"]

    return network.get_concrete_function()


def _with_activation(value: Any, old: str, new: Any) -> Any:
    """A configuration in which the layers `Activation` that had one activation have another."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "Activation" and value["config"]["activation"] == old:
            return {**value, "config": {**value["config"], "activation": new}}
        return {key: _with_activation(entry, old, new) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_activation(entry, old, new) for entry in value)
    return value


def _with_policy(value: Any, policy: str) -> Any:
    """A configuration with this policy in the place of every layer's."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "DTypePolicy":
            return {**value, "config": {"name": policy}}
        return {key: _with_policy(entry, policy) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_policy(entry, policy) for entry in value)
    return value
