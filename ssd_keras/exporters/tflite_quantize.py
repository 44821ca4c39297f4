"""Converts the network of a model to TFLite: in float32, or quantised."""

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from ssd_keras.core.terminal import silence_stderr
from ssd_keras.exporters.network import (
    network_function,
    uniform_preprocessor,
    with_hard_swish_in_parts,
)
from ssd_keras.models.layers import Preprocessor
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite import flatbuffer
from ssd_keras.tflite.flatbuffer import schema


def converted_network(
    model: SSD, quantize: str, input_dtype: str, calibration: Iterable[np.ndarray]
) -> tuple[schema.ModelT, list[str]]:
    """Returns the network, and the names of its box deltas and class logits."""
    is_byte_network = quantize == "int8" and input_dtype == "uint8"
    # Mean and scale cost nothing where the coding of the input's bytes expresses them.
    coding = uniform_preprocessor(model) if is_byte_network else None
    # The converter itself gives an int8 network its uint8 input.
    dtype = "float32" if quantize == "int8" else input_dtype
    if quantize == "int8":
        model = with_hard_swish_in_parts(model)
    function = network_function(model, dtype, preprocess=coding is None)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], function)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        images = _calibration_images(calibration, model.image_size, coding)
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(input_dtype)
    network = convert(converter)
    if is_byte_network:
        _check_input_coding(network, coding)
    return network, output_names(function)


def convert(converter: tf.lite.TFLiteConverter) -> schema.ModelT:
    """Converts without the converter's messages; errors are raised."""
    with silence_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flatbuffer.read_model(converter.convert())


def output_names(function: tf.types.experimental.ConcreteFunction) -> list[str]:
    """Returns the names that the converter gives to a function's outputs."""
    return [output.name.partition(":")[0] for output in function.outputs]


def _calibration_images(
    images: Iterable[np.ndarray], image_size: tuple[int, int], coding: Preprocessor | None
) -> Callable[[], Iterator[list[np.ndarray]]]:
    """Returns the images as the converter takes them, changed so that 0 and 255 occur."""
    batches = [np.array(image, "float32")[None] for image in images]
    for batch in batches:
        if batch.shape != (1, *image_size, 3):
            raise ValueError(
                f"a calibration image has the shape {batch.shape[1:]}; expected {(*image_size, 3)}."
            )
    # Runtimes pass image bytes on unchanged: one step of the input must be one grey level.
    batches[0][0, 0, :2] = [[0.0], [255.0]]
    if coding:
        batches = [coding(batch).numpy() for batch in batches]
    return lambda: ([batch] for batch in batches)


def _check_input_coding(network: schema.ModelT, coding: Preprocessor | None) -> None:
    """Checks that one step of the input is one grey level and its zero point the mean."""
    graph = network.subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    mean, step = (coding.mean[0], np.ravel(coding.scale)[0]) if coding else (0.0, 1.0)
    scale, zero_point = quantization.scale[0], quantization.zeroPoint[0]
    if not np.isclose(scale, step) or abs(zero_point - mean) > 0.5:
        raise ValueError(
            f"the int8 input has the scale {scale} and the zero point {zero_point}, expected "
            f"{step} and {mean}; calibrate on images of 0..255."
        )
