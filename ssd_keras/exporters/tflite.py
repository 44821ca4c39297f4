"""A model as one TFLite file: network, post-processing, names, labels.

Network and post-processing are converted apart and joined: quantisation then ends where the
network ends, and no optimisation of one can spoil the other.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from flatbuffers import flexbuffers

from ssd_keras.core.terminal import silence_stderr
from ssd_keras.exporters.formats import NO_CALIBRATION, check_choices
from ssd_keras.exporters.network import (
    in_precision,
    network_function,
    uniform_preprocessor,
    with_hard_swish_in_parts,
)
from ssd_keras.exporters.tflite_post_process import builtin_detections
from ssd_keras.models.post_process_tensorflow import class_scores
from ssd_keras.models.layers import Preprocessor
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite import flatbuffer, metadata
from ssd_keras.version import __version__

INPUT = "images"
OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
RAW_OUTPUTS = ("box_deltas", "class_scores")
POST_PROCESSING_OPERATOR = "TFLite_Detection_PostProcess"


def tflite_model(
    model: SSD,
    quantize: str = "none",
    post_processing: str = "builtin",
    input_dtype: str = "uint8",
    post_process: PostProcess | None = None,
    calibration: Iterable[np.ndarray] = (),
) -> bytes:
    """Converts a model."""
    check_choices(
        "tflite", quantize=quantize, post_processing=post_processing, input_dtype=input_dtype
    )
    post_process = post_process or model.post_process
    model = in_precision(model)
    joined, sources = _converted_network(model, quantize, input_dtype, calibration)
    if post_processing == "builtin":
        _add_builtin(joined, sources, model, post_process)
    elif post_processing == "op":
        _add_operator(joined, sources, model, post_process)
    else:
        _add_scores(joined, sources, model)
    _add_metadata(joined, model, post_processing)
    return metadata.with_labels(flatbuffer.write_model(joined), model.class_names)


def _converted_network(model, quantize, input_dtype, calibration):
    """The network as a TFLite object, and the names of its box deltas and class logits."""
    is_byte_network = quantize == "int8" and input_dtype == "uint8"
    # Mean and scale cost nothing where they are the coding of the input's bytes.
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
    network = _convert(converter)
    names = [output.name.partition(":")[0] for output in function.outputs]
    if is_byte_network:
        _check_input_coding(network, coding)
    return network, names


def _calibration_images(
    images: Iterable[np.ndarray], image_size: tuple[int, int], coding: Preprocessor | None
) -> Callable[[], Iterator[list[np.ndarray]]]:
    """The images as the converter wants them, the first touched so that 0 and 255 occur."""
    batches = [np.array(image, "float32")[None] for image in images]
    if not batches:
        raise ValueError(NO_CALIBRATION)
    for batch in batches:
        if batch.shape != (1, *image_size, 3):
            raise ValueError(
                f"a calibration image has the shape {batch.shape[1:]}; expected {(*image_size, 3)}."
            )
    # Runtimes hand over bytes as they are: one step of the input must be one grey level.
    batches[0][0, 0, :2] = [[0.0], [255.0]]
    if coding:
        batches = [coding(batch).numpy() for batch in batches]
    return lambda: ([batch] for batch in batches)


def _check_input_coding(network, coding):
    """One step of the input is one grey level, and its zero the mean, but for rounding."""
    graph = network.subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    mean, step = (coding.mean[0], np.ravel(coding.scale)[0]) if coding else (0.0, 1.0)
    found = quantization.scale[0], quantization.zeroPoint[0]
    if not np.isclose(found[0], step) or abs(found[1] - mean) > 0.5:
        raise ValueError(
            f"the int8 input has a step of {found[0]} from {found[1]} on, expected {step} from "
            f"{mean} on; calibrate on images of 0..255."
        )


def _add_builtin(network, sources, model, post_process):
    variances = model.default_boxes.variances
    boxes = np.asarray(model.default_box_array, "float32")

    def detections(box_deltas, class_logits):
        found = builtin_detections(
            box_deltas, class_logits, boxes, post_process, variances, model.activation
        )
        return found["boxes"], found["classes"], found["scores"], found["count"]

    outputs = _add_function(network, sources, model, detections)
    flatbuffer.set_interface(network, INPUT, dict(zip(OUTPUTS, outputs, strict=True)))


def _add_operator(network, sources, model, post_process):
    deltas, _ = sources
    (scores,) = _add_function(
        network,
        sources,
        model,
        lambda box_deltas, class_logits: class_scores(class_logits, model.activation),
    )
    low, high = np.split(np.asarray(model.default_box_array, "float32"), 2, axis=1)
    anchors = np.concatenate([(low + high) / 2, high - low], axis=1)
    scales = [float(1 / value) for value in model.default_boxes.variances]
    options = {
        "max_detections": post_process.max_detections,
        "max_classes_per_detection": 1,
        "num_classes": len(model.class_names),
        "use_regular_nms": False,
        "nms_score_threshold": float(post_process.score_threshold),
        "nms_iou_threshold": float(post_process.iou_threshold),
        **dict(zip(("y_scale", "x_scale", "h_scale", "w_scale"), scales, strict=True)),
    }
    inputs = [
        flatbuffer.tensor_index(network, deltas),
        scores,
        flatbuffer.add_constant(network, "default_boxes", anchors),
    ]
    places = post_process.max_detections
    shapes = dict(zip(OUTPUTS, ([1, places, 4], [1, places], [1, places], [1]), strict=True))
    flatbuffer.add_custom_operator(
        network, POST_PROCESSING_OPERATOR, flexbuffers.Dumps(options), inputs, shapes
    )
    outputs = network.subgraphs[0].outputs
    flatbuffer.set_interface(network, INPUT, dict(zip(OUTPUTS, outputs, strict=True)))


def _add_scores(network, sources, model):
    (scores,) = _add_function(
        network,
        sources,
        model,
        lambda box_deltas, class_logits: class_scores(class_logits, model.activation)[..., 1:],
    )
    deltas = flatbuffer.tensor_index(network, sources[0])
    flatbuffer.set_interface(network, INPUT, dict(zip(RAW_OUTPUTS, (deltas, scores), strict=True)))


def _add_function(network, sources, model, function):
    """Joins a float32 function of box deltas and class logits; the places of its results."""
    num_boxes, num_outputs = len(model.default_box_array), 1 + len(model.class_names)
    concrete = tf.function(function).get_concrete_function(
        tf.TensorSpec((1, num_boxes, 4), tf.float32, name="box_deltas"),
        tf.TensorSpec((1, num_boxes, num_outputs), tf.float32, name="class_logits"),
    )
    added = _convert(tf.lite.TFLiteConverter.from_concrete_functions([concrete], concrete))
    names = [output.name.partition(":")[0] for output in concrete.outputs]
    places = [flatbuffer.tensor_index(added, name) for name in names]
    added.subgraphs[0].outputs = places
    links = dict(zip(("box_deltas", "class_logits"), sources, strict=True))
    flatbuffer.join_models(network, added, links)
    return list(network.subgraphs[0].outputs)


def _add_metadata(network, model, post_processing):
    if post_processing == "none":
        outputs = [
            metadata.box_output("location", "Box deltas of the default boxes, yxhw."),
            metadata.label_output("score", "Probability of each class.", of_axis=True),
        ]
        custom = [
            metadata.default_box_metadata(
                np.asarray(model.default_box_array, "float32"),
                model.default_boxes.variances,
                len(model.class_names),
            )
        ]
    else:
        outputs = [
            metadata.box_output("location", "Boxes, relative to the image."),
            metadata.label_output("category", "Labels, whole numbers."),
            metadata.plain_output("score", "Scores, falling."),
            metadata.plain_output("number of detections", "How many places are used."),
        ]
        custom = []
    content = metadata.detector_metadata(
        model.name, "Object detector made with ssd_keras.", __version__, outputs, custom
    )
    flatbuffer.add_metadata(network, metadata.METADATA_NAME, content)


def _convert(converter):
    """Converts with the converter's remarks to the developer silenced, errors are raised."""
    with silence_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flatbuffer.read_model(converter.convert())
