"""The importer of the TF Object Detection API's SSD: against the files' own outputs."""

import functools

import keras
import numpy as np
import object_detection_api as api
import pytest
from ai_edge_litert.interpreter import Interpreter
from exports import images

from ssd_keras import Augmentation, PostProcess, load_data, training_dataset
from ssd_keras.boxes.coding import decode_boxes
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.models import ssd_mobilenet_v1
from ssd_keras.models.backbones.mobilenet_v1 import mobilenet_v1
from ssd_keras.tflite import flatbuffer

KEPT = (0, 2, 3)  # labels of the file that have names
REAL = "coco_ssd_mobilenet_v1_quant.tflite"


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, "float64")))


def run_file(content, input_image):
    """All outputs of a file by name, for an image of whole grey levels."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    if image["dtype"] == np.float32:
        input_image = input_image.astype("float32") * np.float32(2 / 255) - 1
    interpreter.set_tensor(image["index"], input_image[None].astype(image["dtype"]))
    interpreter.invoke()
    details = interpreter.get_output_details()
    return {one["name"]: interpreter.get_tensor(one["index"])[0] for one in details}


def written(tmp_path, content, name="model.tflite"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


@functools.cache
def imported(quantize="none"):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.tflite"
        with open(path, "wb") as file:
            file.write(api.detector_file(quantize))
        return import_object_detection_api(path)


def outputs_of(model, image):
    """Raw outputs for one image."""
    outputs = model(image[None], training=False)
    return {name: np.asarray(values[0]) for name, values in outputs.items()}


def in_file_order(model):
    """For each of the file's anchors, which of our default boxes it is."""
    boxes = model.default_box_array
    ours = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    distance = np.abs(api.anchors()[:, None] - ours).max(axis=-1)
    nearest = distance.argmin(axis=1)
    assert len(set(nearest)) == len(ours) and distance.min(axis=1).max() < 1e-3
    return nearest


@pytest.mark.parametrize("quantize", ["none", "float16"])
def test_raw_outputs_are_the_files_own(quantize):
    model = imported(quantize)
    assert model.class_names == ("circle", "square", "star")
    assert model.activation == "sigmoid"
    for image in api.resized(images(2)):
        expected = run_file(api.converted(quantize), image)
        deltas, scores = sorted(expected.values(), key=lambda value: value.shape[-1] != 4)
        found = outputs_of(model, image)
        order = in_file_order(model)
        assert np.ptp(deltas) > 3 and np.ptp(scores) > 0.8
        np.testing.assert_allclose(found["box_deltas"][order], deltas, atol=2e-4)
        logits = found["class_logits"][order]
        columns = [0, *(1 + label for label in KEPT)]
        np.testing.assert_allclose(sigmoid(logits), scores[:, columns], atol=5e-5)


def test_detections_are_the_files_own():
    model = imported()
    assert model.post_process == PostProcess(0.01, 0.55, 100, 100)
    for image in api.resized(images()):
        boxes, labels, scores, count = run_file(api.detector_file(), image).values()
        outputs = outputs_of(model, image)
        ours = decode_boxes(outputs["box_deltas"], model.default_box_array)
        own_scores = sigmoid(outputs["class_logits"])[:, 1:]
        is_named = np.isin(labels[: int(count)], KEPT)
        assert is_named.sum() > 3
        for box, label, score in zip(
            boxes[: int(count)][is_named],
            labels[: int(count)][is_named],
            scores[: int(count)][is_named],
            strict=True,
        ):
            index = np.abs(ours - box).max(axis=1).argmin()
            np.testing.assert_allclose(ours[index], box, atol=1e-4)
            assert own_scores[index, KEPT.index(label)] == pytest.approx(score, abs=1e-4)
        # The best of all is found by both: nothing can suppress it.
        if is_named[0]:
            found = model.detect(image)
            assert found.scores[0] == pytest.approx(scores[0], abs=1e-4)
            np.testing.assert_allclose(found.boxes[0], boxes[0], atol=1e-4)


def test_int8_weights_are_within_half_a_step_of_each_channel():
    exact, coded = imported(), imported("int8")
    checked = 0
    for ours, theirs in zip(exact.weights, coded.weights, strict=True):
        ours, theirs = (keras.ops.convert_to_numpy(one) for one in (ours, theirs))
        if ours.ndim == 4:
            axis = (0, 1) if ours.shape[-1] == 1 else (0, 1, 2)
            step = np.abs(ours).max(axis=axis, keepdims=True) / 127
            assert (np.abs(ours - theirs) <= step * 0.51).all()
            assert np.abs(ours - theirs).max() > 0
            checked += 1
        else:
            np.testing.assert_allclose(theirs, ours, atol=2e-3)
    assert checked == 27 + 4 + 8


def test_int8_file_and_model_see_the_same():
    model = imported("int8")
    step, zero = model.preprocessor["scale"], model.preprocessor["mean"]
    assert step == pytest.approx(2 / 255, rel=1e-3) and set(zero) <= {127.0, 128.0}
    order = in_file_order(model)
    for image in api.resized(images(2)):
        _, scores = sorted(
            run_file(api.converted("int8"), image).values(),
            key=lambda value: value.shape[-1] != 4,
        )
        found = outputs_of(model, image)["class_logits"][order]
        difference = np.abs(sigmoid(found)[:, 1:] - scores[:, [1 + label for label in KEPT]])
        assert np.corrcoef(sigmoid(found)[:, 1], scores[:, 1])[0, 1] > 0.95
        assert difference.mean() < 0.06


@pytest.mark.parametrize("boxes", ["float32", "uint8"])
@pytest.mark.parametrize("smallest", [0.2, 0.15])
def test_default_boxes_are_the_formulas_even_where_the_file_rounds(boxes, smallest, tmp_path):
    content = api.detector_file(boxes=boxes, smallest=smallest)
    model = import_object_detection_api(written(tmp_path, content))
    spec = model.default_boxes
    # Of 75 pixels: smallest, three even steps to .95, and 1. The first map has one square.
    step = (0.95 - smallest) / 3
    scales = (smallest, smallest + step, smallest + 2 * step, 0.95, 1)
    ratios = ((2,), *((2, 3),) * 3)
    expected = DefaultBoxes.paper([75 * scale for scale in scales], ratios, first_square=7.5)
    assert spec.boxes_per_cell == (3, 6, 6, 6)
    for found, cell in zip(spec.shapes, expected.shapes, strict=True):
        np.testing.assert_allclose(found, cell, rtol=1e-6)
    assert spec.variances == (0.1, 0.1, 0.2, 0.2)


def test_a_file_of_raw_outputs_has_the_apis_own_choices(tmp_path):
    path = written(tmp_path, api.detector_file(post_process=False))
    model = import_object_detection_api(path)
    np.testing.assert_array_equal(model.default_box_array, imported().default_box_array)
    assert model.post_process == PostProcess(0.01, 0.6, 100, 100)
    for ours, theirs in zip(model.get_weights(), imported().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "text",
    ["circle\n???\nsquare\nstar\n", "???\ncircle\n???\nsquare\nstar", "circle\r\n\nsquare\nstar"],
)
def test_labels_of_a_file_leave_gaps_out(text, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_bytes(text.encode())
    path = written(tmp_path, api.detector_file(names=None))
    model = import_object_detection_api(path, str(labels))
    assert model.class_names == ("circle", "square", "star")
    np.testing.assert_array_equal(model.get_weights()[-1], imported().get_weights()[-1])


# Training and export


def test_it_learns_and_comes_back_from_its_file(tmp_path):
    model = import_object_detection_api(written(tmp_path, api.detector_file("int8")))
    data = load_data("synthetic:shapes@train[:8]", class_names=model.class_names)
    still = Augmentation(photometric=False, zoom_out=False, crop=False, flip=False)
    batches = training_dataset(
        data, model.target_encoder(), model.image_size, 2, augmentation=still
    )
    # Few steps: a graph takes longer to build than to run.
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    losses = [model.train_on_batch(*batch)[0] for batch in batches.take(7)]
    assert np.isfinite(losses).all() and np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.activation == again.loss["class_logits"].activation == "sigmoid"
    again.run_eagerly = True
    (image,) = api.resized(images(1))
    found, twin = model.detect(image), again.detect(image)
    assert len(found) > 20
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(found, name))


@functools.cache
def exported(post_processing):
    return tflite_model(imported(), post_processing=post_processing)


@pytest.mark.parametrize("post_processing", ["builtin", "op", "none"])
def test_exports_score_by_sigmoid(post_processing):
    model = imported()
    image = api.resized(images(2))[1]
    outputs = outputs_of(model, image)
    scores = sigmoid(outputs["class_logits"])[:, 1:]
    found = run_file_of_ours(exported(post_processing), image)
    if post_processing == "none":
        np.testing.assert_allclose(found["class_scores"], scores, atol=5e-5)
        return
    assert found["detection_scores"][0] == pytest.approx(scores.max(), abs=5e-5)
    index, label = np.unravel_index(scores.argmax(), scores.shape)
    assert found["detection_classes"][0] == label
    box = decode_boxes(outputs["box_deltas"], model.default_box_array)[index]
    np.testing.assert_allclose(found["detection_boxes"][0], box, atol=2e-4)
    if post_processing == "builtin":
        expected = model.detect(image)
        count = len(expected)
        assert found["num_detections"] == count > 20
        np.testing.assert_allclose(found["detection_scores"][:count], expected.scores, atol=5e-5)


def run_file_of_ours(content, image):
    interpreter = Interpreter(model_content=content, num_threads=1)
    return {name: value[0] for name, value in interpreter.get_signature_runner()(
        images=image[None].astype("uint8")
    ).items()}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("model", {"format": "saved_model"}),
        ("model.tflite", {"format": "tflite", "quantize": "int8"}),
        ("model.tflite", {"format": "tflite", "post_processing": "none"}),
    ],
)
def test_exports_pass_their_check(name, options, tmp_path):
    from ssd_keras.exporters.export import export

    report = export(imported(), str(tmp_path / name), images=images(), **options)
    assert report.num_compared > 20


# The backbone


def test_backbone_is_kerases_mobilenet_where_both_pad_alike():
    keras.utils.set_random_seed(3)
    theirs = keras.applications.MobileNet((64, 96, 3), alpha=0.25, weights=None, include_top=False)
    channels = [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256]
    ours = mobilenet_v1((64, 96), channels)
    generator = np.random.default_rng(3)
    weights = []
    for kernel in theirs.get_weights():
        if kernel.ndim == 4:
            inputs = kernel[..., :1].size if kernel.shape[-1] > 1 else 9
            weights.append(generator.normal(0, (2 / inputs) ** 0.5, kernel.shape))
        else:
            weights.append(generator.uniform(0.5, 1.5, kernel.shape))
    theirs.set_weights(weights)
    ours.set_weights(theirs.get_weights())
    assert ours.count_params() == theirs.count_params()
    probe = keras.Model(theirs.input, [theirs.get_layer("conv_pw_11_relu").output, theirs.output])
    image = generator.uniform(-1, 1, (1, 64, 96, 3)).astype("float32")
    for found, expected in zip(ours(image), probe(image), strict=True):
        expected = keras.ops.convert_to_numpy(expected)
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, atol=1e-5)


def test_the_model_of_300_pixels_has_the_apis_maps():
    model = ssd_mobilenet_v1((300, 300), ["cat"])
    # 19 * 19 * 3 + (100 + 25 + 9 + 4 + 1) * 6 = 1083 + 834
    assert model.feature_sizes == ((19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))
    assert len(model.default_box_array) == 1917
    ratios = ((2,), *((2, 3),) * 5)
    sizes = (60, 105, 150, 195, 240, 285, 300)
    assert model.default_boxes == DefaultBoxes.paper(sizes, ratios, first_square=30)
    with pytest.raises(ValueError, match=r"^channels has 3 numbers; expected 14\.$"):
        mobilenet_v1((64, 64), (8, 16, 32))


# Files that cannot be imported


def damaged(change):
    """The file with a change."""
    model = flatbuffer.read_model(api.detector_file(names=None))
    change(model, model.subgraphs[0])
    return flatbuffer.write_model(model)


def cut_weights(model, graph):
    kernel = next(x for x in graph.tensors if len(x.shape) == 4 and x.shape[-1] == 256)
    buffer = model.buffers[kernel.buffer]
    buffer.data = buffer.data[:-8]


def set_anchor(model, graph, height):
    """Anchor 40 gets another height."""
    tensor = next(x for x in graph.tensors if x.name == b"anchors")
    values = api.anchors()
    values[40, 2] = height
    model.buffers[tensor.buffer] = flatbuffer.AlignedBuffer(values.tobytes())


def no_numbers(model, graph):
    set_anchor(model, graph, float("nan"))


def other_anchors(model, graph):
    set_anchor(model, graph, api.anchors()[40, 2] + 0.01)


def other_bias(model, graph):
    operator = next(x for x in graph.operators if len(x.inputs) == 3)
    tensor = graph.tensors[operator.inputs[2]]
    model.buffers.append(flatbuffer.AlignedBuffer(np.zeros(9, "<f4").tobytes()))
    tensor.shape, tensor.buffer = [9], len(model.buffers) - 1


def other_stride(model, graph):
    operator = graph.operators[3]
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = 1


def no_limit(model, graph):
    graph.operators[2].builtinOptions.fusedActivationFunction = 1


def other_scores(model, graph):
    known = flatbuffer.schema.BuiltinOperator
    (code,) = (x for x in model.operatorCodes if x.deprecatedBuiltinCode == known.LOGISTIC)
    code.builtinCode = code.deprecatedBuiltinCode = known.TANH


def no_options(model, graph):
    graph.operators[-1].customOptions = np.zeros(3, "uint8")


def no_tensor(model, graph):
    operator = graph.operators[5]
    operator.inputs = [99999, *operator.inputs[1:]]


LABELS = "circle\n???\nsquare\nstar\n"
BAD = {
    "HTML page": (
        lambda: b"<!DOCTYPE html><html>404</html>",
        r"is not a TFLite file \(it begins with b'<!DOCTYPE html><'\); expected a \.tflite "
        "model: download it again",
    ),
    "empty": (lambda: b"", "is not a TFLite file"),
    "cut off": (
        lambda: api.detector_file(names=None)[:200000],
        "damaged or cut off|holds another network|bytes for the shape",
    ),
    "weights cut off": (
        lambda: damaged(cut_weights),
        r"' has \d+ bytes for the shape \(.*256\) of float32; the file is damaged",
    ),
    "not a number": (lambda: damaged(no_numbers), "'anchors' holds infinity or NaN"),
    "anchors": (
        lambda: damaged(other_anchors),
        r"holds another network: its anchors differ from the formula's by 0\.01\d*; expected",
    ),
    "bias": (
        lambda: damaged(other_bias),
        r"the weights for 'conv0' have the shapes \(3, 3, 3, 8\) and \(9,\), expected \(3, 3, 3, 8"
        r"\) and \(8,\); the file is damaged",
    ),
    "stride": (
        lambda: damaged(other_stride),
        r"has the kernel \(3, 3\) at stride 1, .*; expected 3x3 at stride 2; expected an SSD",
    ),
    "options": (lambda: damaged(no_options), "the options of TFLite_Detection_PostProcess cannot"),
    "tensor": (lambda: damaged(no_tensor), "is damaged or cut off; download"),
    "relu": (
        lambda: damaged(no_limit),
        r"holds another network: '.*' has no relu6; expected an SSD MobileNetV1 of the TF Object",
    ),
    "scores": (
        lambda: damaged(other_scores),
        r"its scores '.*' are not a sigmoid",
    ),
    "ours": (
        lambda: exported("builtin"),
        "holds another network: its scores '.*' are not a sigmoid",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(name, tmp_path):
    make, message = BAD[name]
    path = written(tmp_path, make(), "bad one.tflite")
    labels = tmp_path / "labels.txt"
    labels.write_text(LABELS)
    with pytest.raises(ValueError, match=message) as caught:
        import_object_detection_api(path, str(labels))
    assert "bad one.tflite" in str(caught.value) and "\n" not in str(caught.value)


def test_cut_and_scribbled_files_never_raise_anything_else(tmp_path):
    content = api.detector_file()
    generator = np.random.default_rng(1)
    labels = tmp_path / "labels.txt"
    labels.write_text(LABELS)
    refused = 0
    for turn in range(40):
        damaged = bytearray(content)
        if turn % 2:
            del damaged[int(generator.integers(8, len(content))) :]
        else:  # the tables stand before the weights end: both ends are hit
            offsets = generator.integers(8, 40000, 12)
            for offset in (*offsets, *(len(content) - offsets)):
                damaged[offset] = generator.integers(256)
        try:
            import_object_detection_api(written(tmp_path, bytes(damaged)), str(labels))
        except ValueError as error:
            assert "model.tflite" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("circle\nsquare\n", r"the labels have 2 names but '.*' has 4 classes; pass the labels"),
        ("a\nb\nc\nd\ne\n", r"the labels have 5 names but '.*' has 4 classes; pass the labels"),
        ("a\ncaf\xe9\n", r"labels\.txt: line 2 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_refused(text, message, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        import_object_detection_api(written(tmp_path, api.detector_file()), str(labels))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'none\.tflite' does not exist; pass the path"):
        import_object_detection_api("none.tflite")
    path = written(tmp_path, api.detector_file(names=None))
    with pytest.raises(ValueError, match="contains no labels; pass the file of its class names"):
        import_object_detection_api(path)
    with pytest.raises(FileNotFoundError, match="the labels 'none.txt' do not exist"):
        import_object_detection_api(path, "none.txt")


# Real weights


@functools.cache
def real(shared):
    return import_object_detection_api(str(shared / "weights" / REAL))


def test_real_weights_are_the_published_floats(shared):
    model, folder = real(shared), shared / "weights"
    arrays = np.load(folder / "coco_ssd_mobilenet_v1_float.npz")
    kernels = [name for name in sorted(arrays) if name.endswith("/kernel")]
    names = ["conv0"]
    names += [f"conv{i}_{kind}" for i in range(1, 14) for kind in ("depthwise", "pointwise")]
    for layer, name in zip(names, kernels, strict=False):
        kernel, bias = model.backbone.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel, arrays[name])
        np.testing.assert_array_equal(bias, arrays[name.replace("kernel", "bias")])
    labels = (folder / "coco_ssd_mobilenet_v1_labels.txt").read_text().split("\n")[:90]
    assert list(model.class_names) == [name for name in labels if name != "???"]
    # Ours stand in another order within a cell: sorted, both are the same.
    boxes = model.default_box_array
    ours = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    exact = arrays["anchors_exact_ycxchw"]
    rows = [one[np.lexsort(one.round(3).T[::-1])] for one in (ours, exact)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


@pytest.mark.slow
def test_real_weights_reach_their_ap_and_detect_what_the_file_detects(shared):
    from ssd_keras import evaluate
    from ssd_keras.engine.detector import KerasDetector
    from ssd_keras.exporters.export import sample_images

    model = real(shared)
    data = load_data(f"voc:{shared}/data/voc2012_sample@val", class_names=model.class_names)
    assert not data.problems
    detector = KerasDetector(model)
    assert evaluate(detector, data)["voc12"]["mAP"] >= 0.69
    labels = (shared / "weights" / "coco_ssd_mobilenet_v1_labels.txt").read_text().split("\n")
    content = (shared / "weights" / REAL).read_bytes()
    total = agreed = 0
    for image in sample_images(data, 25):
        image = np.rint(keras.ops.image.resize(image, (300, 300)))
        boxes, classes, scores, count = run_file(content, image).values()
        found = {name: values[0] for name, values in detector(image[None]).items()}
        iou = np.asarray(pairwise_iou(boxes, found["boxes"]))
        for index in np.flatnonzero(scores[: int(count)] >= 0.5):
            is_class = np.array(model.class_names)[found["labels"]] == labels[int(classes[index])]
            nearest = (iou[index] * is_class).argmax()
            total += 1
            agreed += (
                iou[index, nearest] * is_class[nearest] > 0.75
                and abs(found["scores"][nearest] - scores[index]) < 0.15
            )
    assert total > 50 and agreed >= 0.9 * total
