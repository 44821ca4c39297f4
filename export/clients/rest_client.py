"""Sends images to TF Serving over REST: python rest_client.py image.jpg --model detector

The signature serving_default takes encoded images. In JSON, bytes are {"b64": ...}; each row of
the request is an image, and the response has a row for each.
"""

import argparse
import base64
import contextlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence

import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the server's arguments."""
    common.add_server_arguments(parser, "http://localhost:8501")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """Opens a detector that sends its images to the server in one request."""
    if not parsed.server.startswith(("http://", "https://")):
        raise ValueError(f"--server {parsed.server!r} must begin with http:// or https://")
    url = f"{parsed.server.rstrip('/')}/v1/models/{urllib.parse.quote(parsed.model)}:predict"

    def detect(images: Sequence[common.ImageFile]) -> list[list[common.Detection] | None]:
        rows = [{"image_bytes": {"b64": encode(image.content)}} for image in images]
        request = {"signature_name": "serving_default", "instances": rows}
        predictions = post(url, request, parsed.timeout)["predictions"]
        return [detections_of(row, image) for row, image in zip(predictions, images, strict=True)]

    yield detect


def encode(content: bytes) -> str:
    """Encodes bytes as base64 text."""
    return base64.b64encode(content).decode("ascii")


def post(url: str, request: dict, timeout: float) -> dict:
    """Sends JSON and reads JSON; raises ValueError with the reason of a failure."""
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=timeout
        ) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            reason = error.read().decode(errors="replace")
        with contextlib.suppress(ValueError, AttributeError):
            reason = json.loads(reason, strict=False).get("error", reason)
        raise ValueError(f"{url} refused ({error.code}): {reason[:300]}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{url} does not answer in JSON; is it TF Serving?") from error
    except OSError as error:  # URLError and timeouts included
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"no server answers at {url} ({reason}); start it, or correct --server"
        ) from error


def detections_of(row: dict, image: common.ImageFile) -> list[common.Detection] | None:
    """Returns one image's detections; None if the server could not decode it."""
    if not row["image_is_valid"]:
        return None
    return [
        common.Detection(
            row["detection_class_names"][slot],
            row["detection_scores"][slot],
            common.to_pixels(row["detection_boxes"][slot], image.image),
        )
        for slot in range(row["num_detections"])
    ]


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
