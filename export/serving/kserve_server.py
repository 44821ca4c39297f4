"""Serves a SavedModel with KServe: python kserve_server.py --model_dir served/detector

Requests and answers are those of TF Serving's REST interface. It needs kserve and tensorflow.
"""

import argparse
import asyncio
import sys
from typing import Any

import kserve
import kserve.errors
import tensorflow as tf
from kserve.protocol.rest.server import RESTServer
from served_model import BadRequest, ServedModel, answer


class Detector(kserve.Model):
    """A SavedModel that `ssd-keras export` wrote, as a model of KServe."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self._path = path

    def load(self) -> bool:
        """Loads the model; KServe answers requests from then on."""
        self._model = ServedModel(self._path)
        self.ready = True
        return self.ready

    async def predict(
        self, payload: Any, headers: Any = None, response_headers: Any = None
    ) -> dict:
        """Answers one request; others are read and answered at the same time."""
        try:
            # TensorFlow runs in a thread: the server's loop must not wait for it.
            return await asyncio.to_thread(self._predict, payload)
        except (BadRequest, tf.errors.InvalidArgumentError) as error:
            raise kserve.errors.InvalidInput(str(error)) from error

    def _predict(self, request: Any) -> dict:
        batch = self._model.read(request)
        return answer(batch, self._model.run(batch))


def main() -> int:
    """Serves until a signal arrives; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model_dir", default="/mnt/models", help="SavedModel; default %(default)s"
    )
    parser.add_argument("--model_name", default="detector", help="default %(default)s")
    parser.add_argument("--http_port", type=int, default=8080, help="default %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a pod; default %(default)s")
    parsed = parser.parse_args()
    detector = Detector(parsed.model_name, parsed.model_dir)
    try:
        detector.load()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    server = kserve.ModelServer(http_port=parsed.http_port, enable_grpc=False)
    server.register_model(detector)
    # `ModelServer.start` listens on every address.
    rest = RESTServer(
        "kserve.model_server:app",
        server.dataplane,
        server.model_repository_extension,
        parsed.http_port,
    )
    rest.config.host = parsed.host
    asyncio.run(rest.start())
    return 0


if __name__ == "__main__":
    sys.exit(main())
