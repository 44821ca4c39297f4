"""The part that the servers in Python share, with a model whose outputs are worked out by hand."""

import base64
import sys

import numpy as np
import pytest
import tensorflow as tf
from client_results import EXPORT


@pytest.fixture(scope="module")
def served_model():
    """The module, as a server in its folder imports it."""
    sys.path.insert(0, str(EXPORT / "serving"))
    try:
        import served_model
    finally:
        sys.path.pop(0)
    yield served_model
    del sys.modules["served_model"]


class Sums(tf.Module):
    """The sum of each image's pixels, the length of each text, and how many ran together."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def sums(self, images):
        total = tf.reduce_sum(tf.cast(images, tf.int32), axis=[1, 2, 3])
        return {"total": total, "count": tf.fill(tf.shape(total), tf.shape(total)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def lengths(self, image_bytes):
        names = tf.strings.join(["ü", tf.strings.as_string(tf.strings.length(image_bytes))])
        return {"total": tf.strings.length(image_bytes), "names": names[:, None]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Versions 2 and 10 of the model."""
    path, module = tmp_path_factory.mktemp("served"), Sums()
    signatures = {"serving_default": module.lengths, "image_tensor": module.sums}
    tf.saved_model.save(module, str(path / "10"), signatures=signatures)
    (path / "2").mkdir()
    (path / "notes").mkdir()
    return path


@pytest.fixture(scope="module")
def model(served_model, folder):
    return served_model.ServedModel(str(folder))


def images_of(*totals, size=2):
    """Images [size, size, 3] with these sums."""
    images = np.zeros((len(totals), size, size, 3), int)
    images[:, 0, 1, 2] = totals
    return {"signature_name": "image_tensor", "instances": images.tolist()}


def texts_of(*texts, key="instances"):
    return {key: [{"b64": base64.b64encode(text).decode()} for text in texts]}


def test_the_newest_version_is_served(served_model, folder, tmp_path):
    assert served_model.newest_version(str(folder)) == str(folder / "10")
    assert served_model.newest_version(str(folder / "10")) == str(folder / "10")
    for path in (tmp_path, tmp_path / "absent", folder / "2"):
        with pytest.raises(ValueError, match="holds no SavedModel; pass the folder"):
            served_model.newest_version(str(path))


def test_answers_in_rows_and_columns(served_model, model):
    batch = model.read(texts_of(b"four", b""))
    rows = [{"total": 4, "names": ["ü4"]}, {"total": 0, "names": ["ü0"]}]
    assert served_model.answer(batch, model.run(batch)) == {"predictions": rows}
    batch = model.read(texts_of(b"\xff\0\xff", key="inputs"))
    columns = {"total": [3], "names": [["ü3"]]}
    assert served_model.answer(batch, model.run(batch)) == {"outputs": columns}


def test_each_request_gets_its_own_images_of_a_batch(model):
    """Images of two sizes and texts: three batches, whose rows go back to their requests."""
    requests = [
        images_of(7, 250),
        texts_of(b"abc"),
        images_of(5, size=3),
        images_of(9),
        texts_of(b"a", b"ab"),
        images_of(0, 1, 2, size=3),
    ]
    results = model.run_together([model.read(request) for request in requests])
    totals = [result["total"].tolist() for result in results]
    assert totals == [[7, 250], [3], [5], [9], [1, 2], [0, 1, 2]]
    counts = [results[index]["count"].tolist() for index in (0, 2, 3, 5)]
    assert counts == [[3, 3], [4], [3], [4, 4, 4]]
    assert results[4]["names"].tolist() == [["ü1".encode()], ["ü2".encode()]]


WRONG = [
    b"\xff",
    b"[" * 100_000,
    None,
    [],
    {},
    {"instances": [], "inputs": []},
    {"instances": None},
    {"instances": [None]},
    {"instances": [{"b64": 3}]},
    {"instances": [{"b64": "§"}]},
    {"inputs": {"b64": ""}},
    {"inputs": None},
    {"signature_name": ["image_tensor"], "instances": [1]},
    {"signature_name": "image_tensor", "inputs": None},
    {"signature_name": "image_tensor", "inputs": "text"},
    {"signature_name": "image_tensor", "inputs": [[[[0, 0, 2**70]]]]},
    {"signature_name": "image_tensor", "inputs": [[[[0, 0, -1]]]]},
    {"signature_name": "image_tensor", "inputs": [[[[True, False, True]]]]},
    {"signature_name": "image_tensor", "inputs": [[[[0, 0]]]]},
]


@pytest.mark.parametrize("request_", WRONG, ids=lambda request: repr(request)[:60])
def test_what_strangers_send_is_refused(served_model, model, request_):
    with pytest.raises(served_model.BadRequest):
        model.read(request_)


def test_fractions_are_not_cut_to_pixels(served_model, model):
    request = {"signature_name": "image_tensor", "instances": [[[[0.5, 0, 0]]]]}
    with pytest.raises(served_model.BadRequest, match="whole numbers in 0..255"):
        model.read(request)
    with pytest.raises(served_model.BadRequest, match="row 1 has no 'image_bytes' as the others"):
        model.read({"instances": [{"image_bytes": {"b64": ""}}, {"b64": ""}]})
