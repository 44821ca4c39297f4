"""Small files like those of the TF Object Detection API, made without this package's models."""

import functools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf
from exports import images
from flatbuffers import flexbuffers
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ssd_keras.data.images import resize_image
from ssd_keras.tflite import flatbuffer, metadata

# 75 by 100 halves to odd sizes, which TensorFlow pads evenly, and to even ones, which it does not.
IMAGE_SIZE = (75, 100)
GRIDS = ((5, 7), (3, 4), (2, 2), (1, 1))
NAMES = ("circle", "???", "square", "star")
DEPTH = 0.25
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
OUTPUTS = {
    "TFLite_Detection_PostProcess": [1, 10, 4],
    "TFLite_Detection_PostProcess:1": [1, 10],
    "TFLite_Detection_PostProcess:2": [1, 10],
    "TFLite_Detection_PostProcess:3": [1],
}


def anchors(image_size=IMAGE_SIZE, grids=GRIDS, smallest=0.2, largest=0.95):
    """`ssd_anchor_generator` with reduce_boxes_in_lowest_layer: centres, heights, widths."""
    step = (largest - smallest) / (len(grids) - 1)
    scales = [smallest + step * index for index in range(len(grids))] + [1.0]
    side = min(image_size)
    rows = []
    for index, (height, width) in enumerate(grids):
        shapes = [(scales[index], ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)]
        shapes.append((math.sqrt(scales[index] * scales[index + 1]), 1.0))
        if index == 0:
            shapes = [(0.1, 1.0), (smallest, 2.0), (smallest, 0.5)]
        for row in range(height):
            for column in range(width):
                rows += [
                    [
                        (row + 0.5) / height,
                        (column + 0.5) / width,
                        scale / math.sqrt(ratio) * side / image_size[0],
                        scale * math.sqrt(ratio) * side / image_size[1],
                    ]
                    for scale, ratio in shapes
                ]
    return np.array(rows, "float32")


@functools.cache
def network():
    """MobileNetV1 at a quarter of its width, two extra layers and 1x1 heads.

    The random weights give activations that vary like those of a trained network.
    """
    keras.utils.set_random_seed(5)
    generator, num_classes = np.random.default_rng(5), len(NAMES)
    image = keras.Input((*IMAGE_SIZE, 3))

    def convolve(x, filters, kernel, strides=1):
        options = {"padding": "same", "use_bias": False}
        if filters is None:
            x = layers.DepthwiseConv2D(kernel, strides, **options)(x)
        else:
            x = layers.Conv2D(filters, kernel, strides, **options)(x)
        x = layers.BatchNormalization(
            momentum=0.0,
            epsilon=0.1,  # a map of one cell has four values to vary
            gamma_initializer=keras.initializers.RandomUniform(0.8, 1.6, 3),
            beta_initializer=keras.initializers.RandomUniform(-0.3, 0.9, 4),
        )(x)
        return layers.Activation("relu6")(x)

    x = convolve(image, 8, 3, 2)
    maps = []
    for number, (strides, width) in enumerate(zip(STRIDES, WIDTHS, strict=True), start=1):
        x = convolve(convolve(x, None, 3, strides), int(DEPTH * width), 1)
        if number in (11, 13):
            maps.append(x)
    for width in (64, 32):
        x = convolve(convolve(x, width, 1), 2 * width, 3, 2)
        maps.append(x)
    deltas, logits = [], []
    for index, x in enumerate(maps):
        count = 6 if index else 3
        for parts, numbers, spread in ((deltas, 4, 1.0), (logits, 1 + num_classes, 2.0)):
            head = layers.Conv2D(
                count * numbers,
                1,
                kernel_initializer=keras.initializers.RandomNormal(
                    0, spread / math.sqrt(2 * x.shape[-1]), int(generator.integers(99))
                ),
                bias_initializer=keras.initializers.RandomNormal(
                    0, 0.3, int(generator.integers(99))
                ),
            )(x)
            parts.append(layers.Reshape((-1, numbers))(head))
    boxes = layers.Concatenate(axis=1)(deltas)
    scores = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(logits))
    model = keras.Model(image, [boxes, scores])
    model(prepared(images()), training=True)  # momentum 0: the statistics of this batch
    return model


def resized(images):
    """Resizes images to the network's input, in whole grey levels."""
    return np.stack([np.rint(resize_image(image, IMAGE_SIZE).numpy()) for image in images])


def prepared(images):
    """Resizes images and scales them to -1..1."""
    return resized(images).astype("float32") * np.float32(2 / 255) - 1


@functools.cache
def converted(quantize="none"):
    """The network's file, which ends in box encodings and scores."""
    model = network()
    signature = tf.TensorSpec((1, *IMAGE_SIZE, 3), tf.float32, name="normalized_input_image_tensor")
    converter = converter_of(model, signature)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        batch = prepared(images())
        batch[0, 0, :2] = [[-1.0], [1.0]]
        converter.representative_dataset = lambda: ([one[None]] for one in batch)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    return without_warnings(converter)


def convert(model, signature):
    """TensorFlow's file of a network; from the network itself it takes four times as long."""
    return without_warnings(converter_of(model, signature))


def converter_of(model, signature):
    function = tf.function(
        lambda x: model(x, training=False), input_signature=[signature], autograph=False
    )
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], frozen)


def without_warnings(converter):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter.convert()


@functools.cache
def detector_file(quantize="none", names=NAMES, boxes="float32", smallest=0.2, post_process=True):
    """The whole file: network, TFLite_Detection_PostProcess with its anchors, and labels."""
    model = flatbuffer.read_model(converted(quantize))
    graph = model.subgraphs[0]
    # The order of the outputs follows their names; boxes have four numbers.
    deltas, scores = sorted(graph.outputs, key=lambda index: graph.tensors[index].shape[-1] != 4)
    if post_process:
        tensor = flatbuffer.add_constant(model, "anchors", anchors(smallest=smallest))
        if boxes == "uint8":
            _code_in_bytes(model, graph.tensors[tensor], anchors(smallest=smallest))
        settings = {
            "max_detections": 10, "max_classes_per_detection": 1, "num_classes": len(NAMES),
            "nms_score_threshold": 1e-8, "nms_iou_threshold": 0.55,
            "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
        }  # fmt: skip
        flatbuffer.add_custom_operator(
            model,
            "TFLite_Detection_PostProcess",
            flexbuffers.Dumps(settings),
            [deltas, scores, tensor],
            OUTPUTS,
        )
        model.signatureDefs = None
    content = flatbuffer.write_model(model)
    return metadata.with_labels(content, names) if names else content


def _code_in_bytes(model, tensor, values):
    step = float(values.max()) / 255
    tensor.type = flatbuffer.schema.TensorType.UINT8
    tensor.quantization = flatbuffer.make(
        flatbuffer.schema.QuantizationParametersT, scale=[step], zeroPoint=[0], quantizedDimension=0
    )
    codes = np.rint(values / step).astype("uint8")
    model.buffers[tensor.buffer] = flatbuffer.AlignedBuffer(codes.tobytes())
