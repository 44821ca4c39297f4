"""A model as one ONNX file: preprocessing, network, decoding, NMS, labels."""

import collections
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from ssd_keras.boxes import nms
from ssd_keras.core.class_names import class_line
from ssd_keras.core.display_thresholds import (
    DisplayThreshold,
    by_name,
    read_thresholds,
    thresholds_line,
)
from ssd_keras.core.origin import Origin, origin_lines
from ssd_keras.core.terminal import silence_stderr
from ssd_keras.exporters.exported_detector import ExportedDetector, exported_origin, one_by_one
from ssd_keras.exporters.formats import KEYS, NUM_THREADS, OUTPUTS
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.version import __version__

INPUT = "images"
NMS_OPERATOR = "NonMaxSuppression"
OPSET = 13  # an old one that has all operators: more runtimes read it
QUIET = 3  # severity of ONNX Runtime's messages: errors


def write(
    model: SSD,
    path: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    **options: str,
) -> None:
    """See `FormatModule`."""
    artefact = _simplified(_converted(model, post_process, options.get("batch", "one")))
    used = {node.domain for node in artefact.graph.node}
    opsets = [opset for opset in artefact.opset_import if opset.domain in used]
    del artefact.opset_import[:]
    artefact.opset_import.extend(opsets)
    artefact.graph.name = model.name
    artefact.producer_name, artefact.producer_version = "ssd_keras", __version__
    artefact.doc_string = "Object detector made with ssd_keras."
    facts = {
        "class_names": list(model.class_names),
        "post_process": post_process.get_config(),
        "display_threshold": by_name(model.display_threshold, model.class_names),
        "origin": exported_origin(model).to_dict(),
    }
    onnx.helper.set_model_props(artefact, {k: json.dumps(v) for k, v in facts.items()})
    onnx.checker.check_model(artefact, full_check=True)
    onnx.save(artefact, path)


def start(path: str, num_threads: int) -> tuple[Callable, Callable]:
    """See `FormatModule`. A folder is a model of Triton's."""
    import os

    import onnxruntime

    path = os.path.join(path, "1", "model.onnx") if os.path.isdir(path) else path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def prepare(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"images": np.clip(np.rint(image), 0, 255).astype("uint8")[None]}

    return prepare, lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def check_operators(path: str) -> dict[str, int]:
    """See `FormatModule`."""
    graph = onnx.load(path).graph
    nodes = [*_nodes(graph)]
    counts = collections.Counter(node.op_type for node in nodes)
    names = tuple(output.name for output in graph.output)
    foreign = sorted({node.domain for node in nodes} - {""})
    if names != OUTPUTS or counts[NMS_OPERATOR] != 1 or foreign:
        raise ValueError(
            f"the ONNX graph ends in {', '.join(names)} with {counts[NMS_OPERATOR]} NMS operators "
            f"and operators of {', '.join(foreign) or 'ONNX'}; its post-processing was lost in "
            "the conversion."
        )
    return dict(counts.most_common())


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yields the operators, with those inside loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def load(path: str, num_threads: int = NUM_THREADS) -> ExportedDetector:
    """See `FormatModule`."""
    session, class_names = _interface(path)
    _, height, width, _ = session.get_inputs()[0].shape
    run = one_by_one(*start(path, num_threads))
    thresholds = _display_threshold(session, class_names, path)
    return ExportedDetector(class_names, (height, width), run, thresholds)


def describe(path: str) -> list[str]:
    """See `FormatModule`."""
    session, class_names = _interface(path)
    origin = session.get_modelmeta().custom_metadata_map.get("origin")
    lines = []
    for kind, values in (("input", session.get_inputs()), ("output", session.get_outputs())):
        tensors = (f"{x.name} {x.type[7:-1]}{x.shape}" for x in values)  # "tensor(float)"
        lines.append(f"{kind}: {', '.join(tensors)}")
    operators = (f"{name} {count}" for name, count in check_operators(path).items())
    return [
        *lines,
        f"operators: {', '.join(operators)}",
        class_line(class_names),
        thresholds_line(_display_threshold(session, class_names, path), class_names),
        *origin_lines(Origin.from_json(origin, f"{path!r}: origin") if origin else None),
    ]


def _display_threshold(
    session: onnxruntime.InferenceSession, class_names: Sequence[str], path: str
) -> DisplayThreshold:
    text = session.get_modelmeta().custom_metadata_map.get("display_threshold")
    return read_thresholds(text, class_names, f"{path!r}: display_threshold")


def _converted(model: SSD, post_process: PostProcess, batch: str) -> onnx.ModelProto:
    """Converts by way of TensorFlow, as Keras does."""
    size = 1 if batch == "one" else None
    signature = tf.TensorSpec((size, *model.image_size, 3), tf.uint8, name=INPUT)
    post_process = post_process.bound_to(model)

    def detections(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = post_process(outputs, nms.builtin)
        return {name: found[key] for name, key in zip(OUTPUTS, KEYS, strict=True)}

    def of_one(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = detections({name: value[None] for name, value in outputs.items()})
        return {name: value[0] for name, value in found.items()}

    @tf.function(input_signature=[signature], autograph=False)
    def detect(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(tf.cast(images, tf.float32), training=False)
        if size:
            return detections(outputs)
        # The network runs on all images at once, NMS in a loop: without one, its comparisons of
        # all pairs of boxes take gigabytes for a few images of 80 classes.
        return tf.map_fn(of_one, dict(outputs), fn_output_signature=_specs(post_process))

    with silence_stderr():
        converted, _ = tf2onnx.convert.from_function(detect, [signature], opset=OPSET)
    if not size:
        for value in (*converted.graph.input, *converted.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return converted


def _specs(post_process: PostProcess) -> dict[str, tf.TensorSpec]:
    """Returns the types of one image's detections by name of the output."""
    slots = post_process.max_detections
    shapes_and_dtypes = (
        ((slots, 4), tf.float32),
        ((slots,), tf.int32),
        ((slots,), tf.float32),
        ((), tf.int32),
    )
    specs = (tf.TensorSpec(shape, dtype) for shape, dtype in shapes_and_dtypes)
    return dict(zip(OUTPUTS, specs, strict=True))


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph without most transposes, and with batch norm inside convolutions."""
    # Where a network adds a scalar, as hard swish does, tf2onnx 1.17 leaves two transposes at every
    # convolution. ONNX Runtime removes them when it loads a file, other runtimes do not. Its basic
    # level uses ONNX's own operators alone.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = QUIET
    # Of a full disk ONNX Runtime says nothing: what it writes is not the artefact yet.
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = os.path.join(folder, "simplified.onnx")
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load(options.optimized_model_filepath)


def _interface(path: str) -> tuple[onnxruntime.InferenceSession, tuple[str, ...]]:
    """Returns a session and the class names."""
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
        return session, tuple(json.loads(properties["class_names"]))
    except Exception as error:  # ONNX Runtime has no common class of its errors
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path!r} cannot be used ({reason}); expected a file that `ssd-keras export` wrote."
        ) from error
