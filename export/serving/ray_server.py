"""Serves a SavedModel with Ray Serve, in batches: python ray_server.py --model_dir served/detector

Requests and answers are those of TF Serving's REST interface. It needs ray[serve] and tensorflow.
"""

import argparse
import asyncio
import os
import signal
import sys
import threading

if __name__ == "__main__":
    # Ray reads these when it is imported: no usage statistics for its authors, and its own ports on
    # the loopback address, as Ray has it on other systems than Linux. A cluster has its own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import fastapi
import numpy as np
import ray
import tensorflow as tf
from ray import serve
from served_model import BadRequest, Batch, ServedModel, answer, newest_version

LOGGING = {"enable_access_log": False}
app = fastapi.FastAPI()


@app.exception_handler(fastapi.HTTPException)
async def refuse(request: fastapi.Request, refusal: fastapi.HTTPException) -> fastapi.Response:
    """Answers in TF Serving's form."""
    return fastapi.responses.JSONResponse({"error": refusal.detail}, refusal.status_code)


@serve.deployment(max_ongoing_requests=64, logging_config=LOGGING)
@serve.ingress(app)
class Detector:
    """A SavedModel that `ssd-keras export` wrote; requests that wait run as one batch."""

    def __init__(self, name: str, path: str, max_batch_size: int, batch_wait: float) -> None:
        self._name = name
        self._model = ServedModel(path)
        self._run.set_max_batch_size(max_batch_size)
        self._run.set_batch_wait_timeout_s(batch_wait)

    @app.get("/v1/models/{name}")
    async def status(self, name: str) -> dict:
        """Answers whether the model is ready."""
        self._check_name(name)
        return {"name": name, "ready": True}

    @app.post("/v1/models/{name}:predict")
    async def predict(self, name: str, request: fastapi.Request) -> fastapi.Response:
        """Answers one request."""
        self._check_name(name)
        try:
            batch = self._model.read(await request.body())
            outputs = await self._run(batch)
        except (BadRequest, tf.errors.InvalidArgumentError) as error:
            raise fastapi.HTTPException(400, str(error)) from error
        return fastapi.responses.JSONResponse(answer(batch, outputs))

    @serve.batch
    async def _run(self, batches: list[Batch]) -> list[dict[str, np.ndarray]]:
        # TensorFlow runs in a thread: the next batch is read meanwhile.
        return await asyncio.to_thread(self._model.run_together, batches)

    def _check_name(self, name: str) -> None:
        if name != self._name:
            raise fastapi.HTTPException(404, f"model {name!r} does not exist; it is {self._name!r}")


def build(arguments: dict[str, str]) -> serve.Application:
    """Returns the application: `serve run ray_server:build model_dir=PATH` runs it on a cluster."""
    settings = {"model_name": "detector", "max_batch_size": 16, "batch_wait": 0.005} | arguments
    return Detector.bind(
        settings["model_name"],
        settings["model_dir"],
        int(settings["max_batch_size"]),
        float(settings["batch_wait"]),
    )


def listen_on_loopback() -> None:
    """Runs at the start of each of Ray's processes: a replica's own port has no setting for it.

    It takes pickled objects, which are programs, from whoever reaches it.
    """
    from ray.serve._private import replica

    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(
        server, address.replace("[::]", "127.0.0.1")
    )


def main() -> int:
    """Serves on this machine until a signal arrives; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_dir", required=True, help="SavedModel")
    parser.add_argument("--model_name", default="detector", help="default %(default)s")
    parser.add_argument("--http_port", type=int, default=8000, help="default %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    parser.add_argument(
        "--max_batch_size", type=int, default=16, help="requests that run as one; default 16"
    )
    parser.add_argument(
        "--batch_wait", type=float, default=0.005, help="seconds that a batch waits; default 0.005"
    )
    arguments = vars(parser.parse_args())
    host, port = arguments.pop("host"), arguments.pop("http_port")
    try:
        arguments["model_dir"] = newest_version(os.path.abspath(arguments["model_dir"]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ray.init(
        "local",  # not a cluster that runs on this machine already
        include_dashboard=False,
        runtime_env={"worker_process_setup_hook": listen_on_loopback},
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after ray.init, which sets handlers
        signal.signal(number, lambda *_: stopped.set())
    serve.start(http_options={"host": host, "port": port}, logging_config=LOGGING)
    serve.run(build(arguments))
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
