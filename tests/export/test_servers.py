"""KServe, Ray Serve and a C++ program in front of a SavedModel give what it gives in Python."""

import base64
import functools
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from client_results import EXPORT, assert_equal, exported, keras_result, results_of
from PIL import Image
from server_process import SERVERS_PYTHON, SERVING, skip_without, started

pytestmark = pytest.mark.servers

PACKAGES = {"kserve": "kserve", "ray": "ray"}
BATCH_SIZE, BATCH_WAIT = 4, 1.0
WORDS = {"kserve": (), "ray": ("--max_batch_size", BATCH_SIZE, "--batch_wait", BATCH_WAIT)}


@functools.cache
def signatures():
    return tf.saved_model.load(str(exported() / "detector" / "1")).signatures


def expected(signature, values):
    """The rows that the SavedModel gives when it is called directly."""
    ((name, spec),) = signatures()[signature].structured_input_signature[1].items()
    outputs = signatures()[signature](**{name: tf.constant(values, spec.dtype)})
    columns = {key: value.numpy() for key, value in outputs.items()}
    return [{key: column[row] for key, column in columns.items()} for row in range(len(values))]


def example_of(content):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={"image/encoded": feature})
    return tf.train.Example(features=features).SerializeToString()


@functools.cache
def files():
    """Contents of images; the second and the fourth cannot be read."""
    names = ("fitting.png", "no_image.png", "rotated.jpg", "tiff.png", "small.png")
    return [(exported() / name).read_bytes() for name in names]


@functools.cache
def pixels():
    image = np.asarray(Image.open(exported() / "fitting.png"))
    return np.stack([image, image[::-1], image[:, ::-1]])


IS_VALID = {"serving_default": [True, False, True, False, True]}
IS_VALID |= {"tf_example": IS_VALID["serving_default"], "image_tensor": [True] * 3}


def values_of(signature):
    """The images of a request."""
    if signature == "image_tensor":
        return pixels()
    return files() if signature == "serving_default" else [example_of(x) for x in files()]


def rows_of(signature):
    """The images of a request in JSON."""
    values = values_of(signature)
    if signature == "image_tensor":
        return values.tolist()
    return [{"b64": base64.b64encode(value).decode()} for value in values]


def detections_of(row):
    """A row of outputs in the clients' form, for images of 1x1 pixels."""
    names = [x.decode() if isinstance(x, bytes) else x for x in row["detection_class_names"]]
    slots = range(row["num_detections"])
    boxes, scores = row["detection_boxes"], row["detection_scores"]
    found = [{"label": names[i], "score": scores[i], "box": boxes[i]} for i in slots]
    return {"width": 1, "height": 1, "detections": found}


def assert_rows(rows, signature):
    """The rows are those of the SavedModel; of images that cannot be read they are empty."""
    assert [row["image_is_valid"] for row in rows] == IS_VALID[signature]
    for row, other in zip(rows, expected(signature, values_of(signature)), strict=True):
        assert set(row) == set(other)
        if row["image_is_valid"]:
            assert_equal(detections_of(row), detections_of(other), score=1e-5, pixels=1e-5)
        else:
            assert row["num_detections"] == 0 and not np.any(row["detection_scores"])


@pytest.fixture(scope="module", params=PACKAGES)
def server(request):
    skip_without(PACKAGES[request.param])
    name = f"{request.param}_server"
    with started(name, exported() / "detector", *WORDS[request.param]) as running:
        running.predict({"instances": rows_of("serving_default")})  # warms up
        yield running


@pytest.mark.parametrize("signature", IS_VALID)
def test_servers_give_what_the_saved_model_gives(server, signature):
    request = {"signature_name": signature, "instances": rows_of(signature)}
    status, answer = server.predict(request)
    assert status == 200 and set(answer) == {"predictions"}
    assert_rows(answer["predictions"], signature)


def test_rows_may_name_their_input_and_columns_are_answered_in_columns(server):
    named = [{"image_bytes": row} for row in rows_of("serving_default")]
    _, answer = server.predict({"instances": named})
    assert_rows(answer["predictions"], "serving_default")
    request = {"inputs": {"examples": rows_of("tf_example")}, "signature_name": "tf_example"}
    _, answer = server.predict(request)
    columns = answer["outputs"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert_rows(rows, "tf_example")


def test_a_request_as_curl_sends_it(server):
    request = {"instances": rows_of("serving_default")}
    status, answer = server.predict(request, content_type="application/x-www-form-urlencoded")
    assert status == 200
    assert_rows(answer["predictions"], "serving_default")


def test_many_clients_get_their_own_images(server):
    """Requests of all signatures at once, wrong ones among them."""
    names = [*IS_VALID] * 4
    requests = [{"signature_name": name, "instances": rows_of(name)} for name in names]
    wrong = {"signature_name": "image_tensor", "instances": pixels()[:, :, :, :2].tolist()}
    with ThreadPoolExecutor(16) as pool:
        refused = [pool.submit(server.predict, wrong) for _ in range(2)]
        answers = [*pool.map(server.predict, requests)]
    assert [future.result()[0] for future in refused] == [400, 400]
    for name, (status, answer) in zip(names, answers, strict=True):
        assert status == 200
        assert_rows(answer["predictions"], name)


BAD_REQUESTS = [
    (b"no JSON", ".*"),
    ({"rows": []}, r'expected a JSON object with "instances" or with "inputs"'),
    ({"instances": []}, r'"instances" must be a list with a row for each image'),
    ({"instances": ["text"]}, r'row 0 is not \{"b64": \.\.\.\}, an image in base64'),
    ({"instances": [{"b64": "AA="}]}, r"row 0 is not base64 \(Incorrect padding\)"),
    (
        {"signature_name": "other", "instances": [1]},
        r"signature 'other' does not exist; choose one of .*serving_default.*",
    ),
    (
        {"signature_name": "image_tensor", "instances": [[[[0, 0, 256]]]]},
        r"pixels must be whole numbers in 0\.\.255",
    ),
    (
        {"signature_name": "image_tensor", "instances": [[[[0, 0, 1]]], [[[0, 0, 1]] * 2]]},
        r"the images of a request must have one size",
    ),
    (
        {"signature_name": "image_tensor", "instances": [[[0, 0, 1]]]},
        r"images has the shape \(1, 1, 3\); expected \(None, None, None, 3\)",
    ),
]


@pytest.mark.parametrize(("request_", "message"), BAD_REQUESTS)
def test_bad_requests_are_refused_with_a_reason(server, request_, message):
    status, answer = server.predict(request_)
    assert status == 400 and re.fullmatch(message, answer["error"]), answer


def test_another_model_is_not_found(server):
    status, answer = server.predict({"instances": rows_of("serving_default")}, "other")
    assert status == 404 and "other" in answer["error"]


def test_the_client_of_tf_serving_works(server):
    paths = [exported() / name for name in ("fitting.png", "small.png", "rotated.jpg")]
    results = results_of("rest", *paths, "--server", server.url)
    for result, path in zip(results, paths, strict=True):
        assert_equal(result, keras_result(path))


def test_servers_listen_on_the_loopback_address_alone(server):
    addresses = {address.removeprefix("::ffff:") for address in server.listens_at()}
    assert addresses == {"127.0.0.1"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_folder_without_a_model_is_refused_in_one_line(name, tmp_path):
    skip_without(PACKAGES[name])
    command = [SERVERS_PYTHON, SERVING / f"{name}_server.py", "--model_dir", tmp_path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    message = "holds no SavedModel; pass the folder that `ssd-keras export` wrote"
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {str(tmp_path)!r} {message}"


@pytest.mark.parametrize("server", ["ray"], indirect=True)
def test_requests_that_wait_run_as_one_batch(server):
    request = {"instances": rows_of("serving_default")[:1]}

    def seconds(count):
        begin = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            answers = [*pool.map(server.predict, [request] * count)]
        assert [status for status, _ in answers] == [200] * count
        return time.perf_counter() - begin

    # One request waits for others, as long as it may; a full batch waits for nobody.
    assert seconds(1) > BATCH_WAIT
    assert min(seconds(BATCH_SIZE) for _ in range(3)) < BATCH_WAIT


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C++ program, built by the commands of the documentation."""
    skip_without("tensorflow")
    if shutil.which("g++") is None:
        pytest.skip("NOT TESTED: the C++ program, because g++ is not installed")
    folder = tmp_path_factory.mktemp("program")
    text = (EXPORT / "README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"```\n(TENSORFLOW=.*?-o detect.*?)```", text, flags=re.DOTALL)
    commands = commands.replace("python -c", f"{SERVERS_PYTHON} -c").replace(
        "export/serving/", f"{SERVING}/"
    )
    build = commands[: commands.index("./detect")]
    subprocess.run(["bash", "-euc", build], cwd=folder, check=True, capture_output=True)
    return folder / "detect"


def run_program(program, *words):
    command = [program, exported() / "detector" / "1", *words]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("signature", IS_VALID)
def test_the_loader_of_tf_serving_gives_what_python_gives(program, signature, tmp_path):
    paths = []
    for index, value in enumerate(pixels() if signature == "image_tensor" else files()):
        paths.append(tmp_path / f"{index}.ppm")
        if signature == "image_tensor":
            Image.fromarray(value).save(paths[-1])
        else:
            paths[-1].write_bytes(value)
    words = paths if signature == "serving_default" else [signature, *paths]
    done = run_program(program, *words)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    others = expected(signature, values_of(signature))
    for path, other, is_valid in zip(paths, others, IS_VALID[signature], strict=True):
        found = [line[1:] for line in lines if line[0] == str(path)]
        if not is_valid:
            assert found == [["invalid"]]
            continue
        detections = [
            {"label": label, "score": float(score), "box": [float(edge) for edge in box]}
            for label, score, *box in found
        ]
        result = {"width": 1, "height": 1, "detections": detections}
        assert_equal(result, detections_of(other), score=1e-5, pixels=1e-5)


def test_bad_input_of_the_program_is_reported_in_one_line(program, tmp_path):
    cases = [
        ([], "usage: detect SAVED_MODEL [SIGNATURE] FILE..."),
        (["gone.png"], "'gone.png' cannot be read; expected an image file"),
        (
            ["image_tensor", exported() / "fitting.png"],
            f"'{exported() / 'fitting.png'}' is not a binary PPM file (P6) of 8 bits; convert it",
        ),
    ]
    for words, message in cases:
        done = run_program(program, *words)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.splitlines()[-1] == f"error: {message}"
    for side in (2, 3):
        Image.new("RGB", (side, 2)).save(tmp_path / f"{side}.ppm")
    done = run_program(program, "image_tensor", tmp_path / "2.ppm", tmp_path / "3.ppm")
    assert done.stderr.splitlines()[-1].endswith(
        "3.ppm' has another size than the first image; resize it"
    )
