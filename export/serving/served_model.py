"""A SavedModel behind the JSON of TF Serving's REST interface, shared by the servers in Python.

A request is {"signature_name": ..., "instances": [...]}, where bytes are {"b64": ...}; the answer
is {"predictions": [...]}. With "inputs", columns instead of rows, the answer is {"outputs": ...}.
"""

import base64
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class BadRequest(ValueError):
    """A request that the model cannot answer."""


class Batch(NamedTuple):
    """The input of a signature; its first dimension counts the images."""

    signature: str
    input: np.ndarray
    by_rows: bool = True  # the request has "instances"


class ServedModel:
    """The signatures of a SavedModel; `path` holds it, or folders with numbers, versions of it."""

    def __init__(self, path: str) -> None:
        self.path = newest_version(path)
        self._functions = tf.saved_model.load(self.path).signatures

    def read(self, request: Any) -> Batch:
        """Reads a request, JSON or what was JSON; raises BadRequest where it does not fit."""
        if isinstance(request, bytes):
            try:
                request = json.loads(request)
            except (ValueError, RecursionError) as error:
                raise BadRequest(f"the request is not JSON ({error})") from error
        if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
            raise BadRequest('expected a JSON object with "instances" or with "inputs"')
        signature = request.get("signature_name") or "serving_default"
        if not isinstance(signature, str) or signature not in self._functions:
            known = ", ".join(self._functions)
            raise BadRequest(f"signature {signature!r} does not exist; choose one of {known}")
        ((name, spec),) = self._functions[signature].structured_input_signature[1].items()
        values = request["inputs"] if "inputs" in request else _column(request["instances"], name)
        if isinstance(values, dict) and set(values) == {name}:
            values = values[name]
        array = _strings(values) if spec.dtype == tf.string else _pixels(values)
        if not spec.shape.is_compatible_with(array.shape):
            raise BadRequest(f"{name} has the shape {array.shape}; expected {spec.shape}")
        return Batch(signature, array, "instances" in request)

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns the outputs of a batch by name."""
        function = self._functions[batch.signature]
        ((name, spec),) = function.structured_input_signature[1].items()
        outputs = function(**{name: tf.constant(batch.input, spec.dtype)})
        return {name: value.numpy() for name, value in outputs.items()}

    def run_together(self, batches: Sequence[Batch]) -> list[dict[str, np.ndarray]]:
        """Returns the outputs of each batch; those of one signature and image size run as one."""
        groups: dict[tuple, list[int]] = {}
        for index, batch in enumerate(batches):
            groups.setdefault((batch.signature, batch.input.shape[1:]), []).append(index)
        results: dict[int, dict[str, np.ndarray]] = {}
        for (signature, _), members in groups.items():
            inputs = [batches[index].input for index in members]
            outputs = self.run(Batch(signature, np.concatenate(inputs)))
            ends = np.cumsum([len(each) for each in inputs])[:-1]
            parts = {name: np.split(value, ends) for name, value in outputs.items()}
            for position, index in enumerate(members):
                results[index] = {name: part[position] for name, part in parts.items()}
        return [results[index] for index in range(len(batches))]


def answer(batch: Batch, outputs: dict[str, np.ndarray]) -> dict:
    """Returns outputs as JSON values, in rows or columns as the request has them."""
    columns = {name: _texts(value).tolist() for name, value in outputs.items()}
    if not batch.by_rows:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def newest_version(path: str) -> str:
    """Returns the folder of the SavedModel: `path`, or its subfolder with the highest number."""
    versions = (
        [name for name in os.listdir(path) if name.isdecimal()] if os.path.isdir(path) else []
    )
    found = os.path.join(path, max(versions, key=int)) if versions else path
    if not os.path.isfile(os.path.join(found, "saved_model.pb")):
        raise ValueError(
            f"{found!r} holds no SavedModel; pass the folder that `ssd-keras export` wrote"
        )
    return found


def _column(rows: Any, name: str) -> list:
    """Returns the values of rows, which are values or objects that name the input."""
    if not isinstance(rows, list) or not rows:
        raise BadRequest('"instances" must be a list with a row for each image')
    is_named = [isinstance(row, dict) and set(row) == {name} for row in rows]
    if any(is_named) and not all(is_named):
        raise BadRequest(f"row {is_named.index(False)} has no {name!r} as the others have")
    return [row[name] for row in rows] if all(is_named) else rows


def _strings(values: Any) -> np.ndarray:
    if not isinstance(values, list):
        raise BadRequest('expected a list of {"b64": ...}')
    return np.array([_bytes(value, index) for index, value in enumerate(values)], object)


def _bytes(value: Any, index: int) -> bytes:
    if not (isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)):
        raise BadRequest(f'row {index} is not {{"b64": ...}}, an image in base64')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except ValueError as error:  # also of characters that are not ASCII
        raise BadRequest(f"row {index} is not base64 ({error})") from error


def _pixels(values: Any) -> np.ndarray:
    try:
        array = np.array(values)
    except ValueError as error:
        raise BadRequest("the images of a request must have one size") from error
    if array.dtype.kind != "i" or array.size and (array.min() < 0 or array.max() > 255):
        raise BadRequest("pixels must be whole numbers in 0..255")
    return array.astype("uint8")


def _texts(value: np.ndarray) -> np.ndarray:
    """Returns class names as text, and other outputs unchanged."""
    if value.dtype != object:
        return value
    return np.array([text.decode() for text in value.ravel()], object).reshape(value.shape)
