"""A model as one TFLite file: network, post-processing, names, labels.

Network and post-processing are converted apart and joined: quantisation then ends where the
network ends, and no optimisation of one affects the other.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from ssd_keras.boxes import nms
from ssd_keras.core.class_names import check_class_names, class_line
from ssd_keras.core.display_thresholds import (
    THRESHOLDS_FILE,
    DisplayThreshold,
    read_thresholds,
    thresholds_line,
    thresholds_text,
)
from ssd_keras.core.origin import ORIGIN_FILE, Origin, joined_licences, origin_lines
from ssd_keras.core.terminal import silence_stderr
from ssd_keras.data.images import resize_image
from ssd_keras.exporters.exported_detector import ExportedDetector, exported_origin, one_by_one
from ssd_keras.exporters.formats import KEYS, NUM_THREADS, OUTPUTS, RAW_OUTPUTS
from ssd_keras.exporters.network import in_precision
from ssd_keras.exporters.tflite_quantize import convert, converted_network, output_names
from ssd_keras.models.post_process import PostProcess, class_scores
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite import flatbuffer, metadata
from ssd_keras.tflite.flatbuffer import schema
from ssd_keras.tflite.metadata import read_labels, with_labels
from ssd_keras.tflite.post_process_operator import POST_PROCESS_OPERATOR, add_post_process_operator
from ssd_keras.version import __version__

INPUT = "images"
NMS_OPERATOR = "NON_MAX_SUPPRESSION_V5"
# Traces of variables that were not frozen, or of another post-processing than the exporter's.
FORBIDDEN_OPERATORS = ("VAR_HANDLE", "READ_VARIABLE", "WHILE", "IF", "CALL_ONCE")


def write(
    model: SSD,
    path: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    **options: str,
) -> None:
    """See `FormatModule`."""
    calibration = (resize_image(image, model.image_size).numpy() for image in images)
    content = tflite_model(model, post_process=post_process, calibration=calibration, **options)
    with open(path, "wb") as file:
        file.write(content)


def start(path: str, num_threads: int) -> tuple[Callable, Callable]:
    """See `FormatModule`. TensorFlow's interpreter serves where LiteRT is not installed."""
    import warnings

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite.python.interpreter import Interpreter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's says that LiteRT is its successor
        interpreter = Interpreter(model_path=path, num_threads=num_threads)
    interpreter.allocate_tensors()  # here it logs its delegate, else in the first run
    runner = interpreter.get_signature_runner()
    ((name, details),) = runner.get_input_details().items()

    def prepare(image: np.ndarray) -> dict[str, np.ndarray]:
        if np.issubdtype(details["dtype"], np.integer):
            image = np.clip(np.rint(image), 0, 255)
        return {name: image[None].astype(details["dtype"])}

    return prepare, lambda inputs: runner(**inputs)


def check_operators(path: str) -> dict[str, int]:
    """See `FormatModule`."""
    model = flatbuffer.read_model(Path(path).read_bytes())
    counts = flatbuffer.operator_counts(model)
    graph = model.subgraphs[0]
    names = tuple(graph.tensors[index].name.decode() for index in graph.outputs)
    num_nms = sum(counts.get(name, 0) for name in (NMS_OPERATOR, POST_PROCESS_OPERATOR))
    if names not in (OUTPUTS, RAW_OUTPUTS) or num_nms != (names == OUTPUTS):
        raise ValueError(
            f"the TFLite graph ends in {', '.join(names)} with {num_nms} NMS operators; its "
            "post-processing was lost in the conversion."
        )
    for name in counts:
        if name in FORBIDDEN_OPERATORS or name.startswith("Flex"):
            raise ValueError(f"the TFLite graph has the operator {name}, which phones lack.")
    return counts


def load(path: str, num_threads: int = NUM_THREADS) -> ExportedDetector:
    """See `FormatModule`."""
    model, class_names = _read(path)
    if {name for name, _, _ in flatbuffer.outputs(model)} != set(OUTPUTS):
        raise ValueError(
            f"{path!r} has no post-processing inside; evaluate an export with "
            "--post-processing builtin."
        )
    _, height, width, _ = flatbuffer.inputs(model)[0][2]
    with silence_stderr():
        run = one_by_one(*start(path, num_threads))
    thresholds = _display_threshold(path, class_names)
    return ExportedDetector(class_names, (height, width), run, thresholds)


def describe(path: str) -> list[str]:
    """See `FormatModule`."""
    model, class_names = _read(path)
    lines = []
    for kind, ends in (("input", flatbuffer.inputs(model)), ("output", flatbuffer.outputs(model))):
        tensors = (f"{name} {dtype}{list(shape)}" for name, dtype, shape in ends)
        lines.append(f"{kind}: {', '.join(tensors)}")
    operators = (f"{name} {count}" for name, count in flatbuffer.operator_counts(model).items())
    origin = metadata.read_file(Path(path).read_bytes(), ORIGIN_FILE)
    return [
        *lines,
        f"network: {flatbuffer.network_types(model)}",
        f"operators: {', '.join(operators)}",
        class_line(class_names),
        thresholds_line(_display_threshold(path, class_names), class_names),
        *origin_lines(Origin.from_json(origin, f"{path!r}: {ORIGIN_FILE}") if origin else None),
    ]


def _display_threshold(path: str, class_names: Sequence[str]) -> DisplayThreshold:
    text = metadata.read_file(Path(path).read_bytes(), THRESHOLDS_FILE)
    return read_thresholds(text, class_names, f"{path!r}: {THRESHOLDS_FILE}")


def _read(path: str) -> tuple[schema.ModelT, tuple[str, ...]]:
    """Returns a file's model and class names."""
    content = Path(path).read_bytes()
    class_names = read_labels(content)
    check_class_names(class_names)
    return flatbuffer.read_model(content), class_names


def tflite_model(
    model: SSD,
    quantize: str = "none",
    post_processing: str = "builtin",
    input_dtype: str = "uint8",
    post_process: PostProcess | None = None,
    calibration: Iterable[np.ndarray] = (),
) -> bytes:
    """Returns the bytes of a TFLite file; the choices are those of `ssd_keras.exporters.formats`.

    `calibration` holds images of the model's size, float [H, W, 3] in 0..255, for "int8".
    """
    post_process = (post_process or model.post_process).bound_to(model)
    if post_processing == "op":
        _check_operator(post_process)
    model = in_precision(model)
    boxes, variances, activation = post_process.coding
    network, ends = converted_network(model, quantize, input_dtype, calibration)
    append = functools.partial(_append_function, network, ends, model)
    if post_processing == "builtin":
        indices = append(functools.partial(builtin_detections, post_process))
        outputs = dict(zip(OUTPUTS, indices, strict=True))
    elif post_processing == "op":
        (scores,) = append(lambda _, logits: _scores_for_operator(post_process, logits))
        deltas = flatbuffer.tensor_index(network, ends[0])
        options = {
            "max_detections": post_process.max_detections,
            "num_classes": len(model.class_names),
            "nms_score_threshold": float(np.min(post_process.score_threshold)),
            "nms_iou_threshold": float(post_process.iou_threshold),
        }
        outputs = add_post_process_operator(
            network, deltas, scores, boxes, variances, options, OUTPUTS
        )
    else:
        (scores,) = append(lambda _, logits: post_process.scores(logits))
        deltas = flatbuffer.tensor_index(network, ends[0])
        outputs = dict(zip(RAW_OUTPUTS, (deltas, scores), strict=True))
    flatbuffer.set_interface(network, INPUT, outputs)
    _add_metadata(network, model, post_processing)
    thresholds = thresholds_text(model.display_threshold, model.class_names)
    files = {ORIGIN_FILE: exported_origin(model).to_json(), THRESHOLDS_FILE: thresholds}
    return with_labels(flatbuffer.write_model(network), model.class_names, files)


def _check_operator(post_process: PostProcess) -> None:
    """Refuses what the custom operator cannot do. It never clips boxes, which is documented."""
    faults = {
        "max_detections_per_class": post_process.max_detections_per_class is not None,
        "iou_threshold": post_process.iou_threshold == 0,
    }
    for name, is_fault in faults.items():
        if is_fault:
            raise ValueError(
                f"{name}={getattr(post_process, name)} has no place in the custom operator; choose "
                "post_processing='builtin', or another value."
            )


def _scores_for_operator(post_process: PostProcess, class_logits: tf.Tensor) -> tf.Tensor:
    """Returns scores with background; below its class's threshold, where there is one, -1."""
    scores = class_scores(class_logits, post_process.coding.activation)
    smallest = post_process.class_thresholds
    if smallest is None:
        return scores
    return tf.where(scores >= np.append(np.float32(0), smallest), scores, -1.0)


def builtin_detections(
    post_process: PostProcess, box_deltas: tf.Tensor, class_logits: tf.Tensor
) -> list[tf.Tensor]:
    """Returns boxes [1, K, 4], classes [1, K], scores [1, K] and their number [1], all float32."""
    outputs = {"box_deltas": box_deltas, "class_logits": class_logits}
    found = post_process(outputs, nms.builtin)
    return [tf.cast(found[key], tf.float32) for key in KEYS]


def _append_function(
    network: schema.ModelT, ends: Sequence[str], model: SSD, function: Callable
) -> list[int]:
    """Appends a float32 function of box deltas and class logits; returns its outputs' indices."""
    shapes = {"box_deltas": 4, "class_logits": 1 + len(model.class_names)}
    specs = [
        tf.TensorSpec((1, len(model.default_box_array), columns), tf.float32, name=name)
        for name, columns in shapes.items()
    ]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    added = convert(tf.lite.TFLiteConverter.from_concrete_functions([concrete], concrete))
    names = output_names(concrete)
    added.subgraphs[0].outputs = [flatbuffer.tensor_index(added, name) for name in names]
    flatbuffer.join_models(network, added, dict(zip(shapes, ends, strict=True)))
    return list(network.subgraphs[0].outputs)


def _add_metadata(network: schema.ModelT, model: SSD, post_processing: str) -> None:
    if post_processing == "none":
        outputs = [
            metadata.box_output("location", "Box deltas of the default boxes, yxhw."),
            metadata.label_output("score", "Probability of each class.", of_axis=True),
        ]
        boxes, variances = model.default_box_array, model.default_boxes.variances
        custom = [metadata.default_box_metadata(boxes, variances, len(model.class_names))]
    else:
        outputs = [
            metadata.box_output("location", "Boxes, relative to the image."),
            metadata.label_output("category", "Labels, whole numbers."),
            metadata.plain_output("score", "Scores, falling."),
            metadata.plain_output("number of detections", "How many slots are used."),
        ]
        custom = []
    origin = exported_origin(model)
    content = metadata.detector_metadata(
        model.name,
        ". ".join(["Object detector made with ssd_keras", *origin.lines()]),
        __version__,
        outputs,
        custom,
        joined_licences(origin.licences),
    )
    flatbuffer.add_metadata(network, metadata.METADATA_NAME, content)
