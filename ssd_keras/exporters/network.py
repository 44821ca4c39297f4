"""Rewrites a model for export, and the graph function of its network alone."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ssd_keras.core.terminal import silence_stderr
from ssd_keras.models.layers import Preprocessor
from ssd_keras.models.ssd import SSD


def in_precision(model: SSD, precision: str = "float32") -> SSD:
    """Returns the model with all layers in one precision; the model itself where they are."""

    def change(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        is_policy = entry.get("class_name") == "DTypePolicy"
        return {**entry, "config": {"name": precision}} if is_policy else entry

    return _rebuilt(model, change)


def with_hard_swish_in_parts(model: SSD) -> SSD:
    """Returns the model with each hard swish of its backbone as a sum, a clip and two products.

    XNNPACK has no int8 kernel for the operator HARD_SWISH. Each one would interrupt its part of
    the network for a plain kernel, which took half of the time of SSDLite320-MobileNetV3.
    """
    parts = keras.saving.serialize_keras_object(hard_swish_in_parts)

    def change(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        is_activation = entry.get("class_name") == "Activation"
        if is_activation and entry["config"]["activation"] == "hard_silu":
            return {**entry, "config": {**entry["config"], "activation": parts}}
        return entry

    return _rebuilt(model, change)


@keras.saving.register_keras_serializable("ssd_keras")
def hard_swish_in_parts(x: Any) -> Any:
    """Returns x relu6(x + 3) / 6 in operators that the converter does not fuse to HARD_SWISH."""
    # With exactly 1 / 6 it would fuse them. In this order: calibration takes the range of a first
    # factor from the tensor that overwrites it, and the product never exceeds x.
    return x * (keras.ops.relu6(x + 3.0) * 0.16667)


def uniform_preprocessor(model: SSD) -> Preprocessor | None:
    """Returns the preprocessor if it treats all channels alike, as the coding of bytes must."""
    layer = model.get_layer("preprocessor")
    is_uniform = len(set(layer.mean)) == 1 and np.size(layer.scale) == 1
    return layer if is_uniform and layer.channel_order == "rgb" else None


def network_function(
    model: SSD,
    dtype: str,
    preprocess: bool = True,
    batch_size: int | None = 1,
    weights: str = "constants",
) -> tf.types.experimental.ConcreteFunction:
    """Returns the function from images to box deltas and class logits."""
    layers = model
    if not preprocess:
        layers = keras.Model(model.get_layer("preprocessor").output, model.output)
    signature = tf.TensorSpec((batch_size, *model.image_size, 3), dtype, name="images")

    @tf.function(input_signature=[signature], autograph=False)
    def network(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = layers(tf.cast(images, tf.float32), training=False)
        return outputs["box_deltas"], outputs["class_logits"]

    function = network.get_concrete_function()
    if weights != "constants":
        return function
    with silence_stderr():  # it logs how many GPUs there are
        return convert_variables_to_constants_v2(function)


def _rebuilt(model: SSD, change: Callable[[Mapping], Mapping]) -> SSD:
    """Returns the model with a changed configuration; the model itself if nothing changes."""
    config = model.get_config()
    new_config = _changed(config, change)
    if new_config == config:
        return model
    rebuilt = SSD.from_config(new_config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _changed(value: Any, change: Callable[[Mapping], Mapping]) -> Any:
    """Applies `change` to every mapping in a configuration."""
    if isinstance(value, Mapping):
        return {key: _changed(entry, change) for key, entry in change(value).items()}
    if isinstance(value, list | tuple):
        return type(value)(_changed(entry, change) for entry in value)
    return value
