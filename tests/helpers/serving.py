"""A stand-in for TF Serving: both of its protocols in front of a SavedModel, on loopback ports.

No Python package contains the binary. As in the server, the SavedModel is loaded as a graph into a
session and run by the names of its signatures, its warm-up requests are replayed, gRPC implements
the published service, and JSON follows the rules of the REST interface
(https://www.tensorflow.org/tfx/serving/api_rest). Batching, versions and speed are missing.
"""

import base64
import binascii
import contextlib
import dataclasses
import http.server
import json
import os
import re
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

INVALID, MISSING, PRECONDITION = 3, 5, 9  # canonical codes of gRPC and TensorFlow
HTTP_STATUS = {INVALID: 400, MISSING: 404, PRECONDITION: 400}
GRPC_STATUS = {code.value[0]: code for code in grpc.StatusCode}
DEFAULT_SIGNATURE = "serving_default"
VERSION = 1


class Refusal(Exception):
    """The server's error for a request: a canonical code and a message."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Servable:
    """A SavedModel in a session, as the server loads it; clients address it by `name`."""

    def __init__(self, path, name):
        self.name = name
        with tf.Graph().as_default():
            self._session = tf.compat.v1.Session()
            meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        served = meta_graph.signature_def.items()
        self.signatures = {key: value for key, value in served if value.method_name}
        self.num_warm_ups = self._replay(
            os.path.join(path, "assets.extra", "tf_serving_warmup_requests")
        )

    def check_name(self, name):
        if name != self.name:
            raise Refusal(MISSING, f"Servable not found for request: Latest({name})")

    def signature(self, name):
        try:
            return self.signatures[name or DEFAULT_SIGNATURE]
        except KeyError:
            raise Refusal(INVALID, f'Serving signature name: "{name}" not found') from None

    def predict(self, signature_name, inputs):
        """Returns outputs by name for arrays by name."""
        signature = self.signature(signature_name)
        if set(inputs) != set(signature.inputs):
            raise Refusal(
                INVALID,
                f"input tensor alias not found in signature: {', '.join(inputs)}. Inputs expected "
                f"to be in the set {{{', '.join(signature.inputs)}}}.",
            )
        feeds = {}
        for name, value in inputs.items():
            tensor = signature.inputs[name]
            # Session.run would convert silently; the server does not.
            dtype = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            if dtype != tensor.dtype:
                expected = tf.as_dtype(tensor.dtype).name
                raise Refusal(
                    INVALID, f"Expects arg[0] to be {expected} but {dtype.name} is provided"
                )
            feeds[tensor.name] = value
        fetches = {name: output.name for name, output in signature.outputs.items()}
        try:
            return self._session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise Refusal(error.error_code, error.message) from error
        except ValueError as error:  # a shape that does not fit
            raise Refusal(INVALID, str(error)) from error

    def close(self):
        self._session.close()

    def _replay(self, path):
        """Runs the warm-up requests; a failure stops the start, as in the real server."""
        records = [*tf.data.TFRecordDataset(path).as_numpy_iterator()]
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            self.predict(request.model_spec.signature_name, inputs)
        return len(records)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC interface."""

    def __init__(self, servable):
        self._servable = servable

    def Predict(self, request, context):
        with self._refusing(context):
            self._servable.check_name(request.model_spec.name)
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self._servable.predict(request.model_spec.signature_name, inputs)
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            response.model_spec.version.value = VERSION
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    def GetModelMetadata(self, request, context):
        with self._refusing(context):
            self._servable.check_name(request.model_spec.name)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in self._servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(signatures)
            return response

    @contextlib.contextmanager
    def _refusing(self, context):
        try:
            yield
        except Refusal as refusal:
            context.abort(GRPC_STATUS[refusal.code], str(refusal))


class RestHandler(http.server.BaseHTTPRequestHandler):
    """The REST interface; `serve` sets `servable`."""

    servable: Servable

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            path = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", self.path)
            if path is None:
                raise Refusal(INVALID, f"Malformed request: POST {self.path}")
            self.servable.check_name(path[1])
            self._answer(200, answer_json(self.servable, body))
        except Refusal as refusal:
            self._answer(HTTP_STATUS.get(refusal.code, 500), {"error": str(refusal)})

    def log_message(self, *arguments):
        """Logs nothing: tests read the output of the clients."""

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def answer_json(servable, body):
    """Answers a JSON request, by rows for "instances", by columns for "inputs"."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise Refusal(INVALID, f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise Refusal(INVALID, "JSON Value: Is not object")
    if ("instances" in request) == ("inputs" in request):
        raise Refusal(INVALID, "Missing 'inputs' or 'instances' key, or both given")
    name = request.get("signature_name", "")
    expected = servable.signature(name).inputs
    by_rows = "instances" in request
    columns = _columns_of_rows(request["instances"], expected) if by_rows else request["inputs"]
    if not isinstance(columns, dict) or is_base64(columns):
        if len(expected) > 1:
            raise Refusal(INVALID, "inputs is a plain value/list, but expecting an object")
        columns = {key: columns for key in expected}
    if missing := set(expected) - set(columns):
        raise Refusal(INVALID, f"Missing named input: {missing.pop()} in 'inputs' object.")
    inputs = {key: array_of(columns[key], tf.as_dtype(expected[key].dtype)) for key in expected}
    outputs = {
        key: json_of(value, key.endswith("_bytes"))
        for key, value in servable.predict(name, inputs).items()
    }
    if not by_rows:
        return {"outputs": outputs}
    rows = zip(*outputs.values(), strict=True)
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in rows]}


def is_base64(value):
    """Whether a JSON value stands for bytes."""
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def array_of(value, dtype):
    """Converts a JSON value to an array; lists of one level must have one length."""
    if isinstance(value, list):
        entries = [array_of(entry, dtype) for entry in value]
        if len({entry.shape for entry in entries}) > 1:
            raise Refusal(INVALID, "Encountered list at unexpected size")
        return np.stack(entries) if entries else np.zeros(0, dtype.as_numpy_dtype)
    if dtype == tf.string and is_base64(value):
        try:
            value = base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise Refusal(INVALID, "Unable to base64 decode") from error
    elif isinstance(value, str):
        value = value.encode()
    types = {tf.string: bytes, tf.bool: bool}
    if type(value) is not types.get(dtype, int if dtype.is_integer else float):
        name = type(value).__name__
        raise Refusal(INVALID, f"JSON Value Type: {name} is not of expected type: {dtype.name}")
    return np.array(value, dtype.as_numpy_dtype)


def json_of(value, is_binary):
    """Converts an output to JSON: strings to text, or to base64 where they are binary."""
    if isinstance(value, np.ndarray):
        return [json_of(entry, is_binary) for entry in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()} if is_binary else value.decode()
    return value.item()


def _columns_of_rows(rows, names):
    if not isinstance(rows, list) or not rows:
        raise Refusal(INVALID, "JSON Value: Excepting 'instances' to be an list/array with values")
    if not isinstance(rows[0], dict) or is_base64(rows[0]):
        return rows
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(names):
            raise Refusal(
                INVALID,
                f"Failed to process element: {index} of 'instances' list. JSON object: keys must "
                f"be equal to: {','.join(names)}",
            )
    return {name: [row[name] for row in rows] for name in names}


@dataclasses.dataclass(frozen=True)
class Served:
    """A running stand-in: its addresses and its model."""

    rest: str
    grpc: str
    servable: Servable


@contextlib.contextmanager
def serve(path, name="detector"):
    """Serves a SavedModel on two free ports."""
    servable = Servable(path, name)
    rest = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (RestHandler,), {"servable": servable})
    )
    rest.daemon_threads = True
    thread = threading.Thread(target=rest.serve_forever, daemon=True)
    # Without the limit of 4 MB, as TF Serving.
    options = [("grpc.max_receive_message_length", -1)]
    service = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(servable), service
    )
    port = service.add_insecure_port("127.0.0.1:0")
    thread.start()
    service.start()
    try:
        yield Served(f"http://127.0.0.1:{rest.server_port}", f"127.0.0.1:{port}", servable)
    finally:
        service.stop(None).wait()
        rest.shutdown()
        rest.server_close()
        thread.join()
        servable.close()
