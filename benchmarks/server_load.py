"""Loads KServe's and Ray Serve's servers with requests and checks every answer; see README.md.

    .venv/bin/python benchmarks/server_load.py --results benchmarks/results

`make test-servers` installs the servers. Each serves a small detector on the loopback address, with
weights as constants and as variables. 1, 8 and 32 clients send one image at a time over REST, a
tenth of them broken, and compare each answer with the SavedModel's for that image.
"""

import argparse
import base64
import http.client
import itertools
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from pairs import MAX_OTHERS_SHARE, Side, repeated
from suite import record_of, rounded
from tqdm import tqdm

from ssd_keras.core.hardware import hardware, machine_seconds, num_cores

HELPERS = Path(__file__).resolve().parents[1] / "tests" / "helpers"
CLIENTS = {1: 0.2, 8: 0.4, 32: 0.4}  # shares of the requests
SERVERS = ("kserve", "ray")  # packages, and programs of export/serving
WEIGHTS = ("constants", "variables")
WARM_UP = 100
NUM_IMAGES, BROKEN_EVERY = 45, 10
BARE_BATCHES, BARE_SECONDS = (1, 8), 1.5
TIMEOUT, LIMIT = 60.0, 1200.0  # seconds of a request, and of all requests of a number of clients
TOLERANCE = 1e-3  # of scores and of relative boxes; batches round differently
PATH = "/v1/models/detector:predict"


class Bare:
    """The SavedModel, called in a process without a server, one thread."""

    def __init__(self, path):
        import tensorflow as tf

        self._tf, self._signatures = tf, tf.saved_model.load(path).signatures

    def answers(self, images):
        outputs = [self._detect([image]) for image in images]
        return [{name: value[0] for name, value in one.items()} for one in outputs]

    def images_a_second(self, images, batch_size, least):
        batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        result = repeated(lambda: [self._detect(batch) for batch in batches], least=least)
        return len(images) * result["calls"] / result["seconds"]

    def _detect(self, images):
        outputs = self._signatures["serving_default"](image_bytes=self._tf.constant(images))
        return {name: value.numpy() for name, value in outputs.items()}


SIDES = {"bare": Bare}


def export_detectors(folder):
    """Writes the detector with each kind of weights."""
    from exports import lively_model

    from ssd_keras import PostProcess
    from ssd_keras.exporters.saved_model import write_saved_model

    post_process = PostProcess(0.6, 0.45, max_candidates=100, max_detections=50)
    model = lively_model("ssd192_small_shapes", post_process=post_process)
    for weights in WEIGHTS:
        write_saved_model(model, str(folder / weights), weights=weights)


def request_images():
    """JPEG files of different images; every tenth is broken: no image, cut off, empty."""
    from exports import encoded, images

    good = [encoded(image, "JPEG", quality=90) for image in images(NUM_IMAGES)]
    broken = itertools.cycle([b"no image", good[0][: len(good[0]) // 2], b""])
    slots = NUM_IMAGES * BROKEN_EVERY // (BROKEN_EVERY - 1)
    is_broken = [number % BROKEN_EVERY == BROKEN_EVERY - 1 for number in range(slots)]
    files = iter(good)
    return [next(broken) if bad else next(files) for bad in is_broken]


def is_right(row, expected):
    """Whether an answer has the detections of its image, in any order of nearly equal scores."""
    count = int(expected["num_detections"])
    same = row["image_is_valid"] == bool(expected["image_is_valid"])
    if not same or row["num_detections"] != count:
        return False
    found, other = (
        np.concatenate(
            [
                np.asarray(one["detection_classes"][:count], float)[:, None],
                np.asarray(one["detection_scores"][:count], float)[:, None],
                np.asarray(one["detection_boxes"][:count], float).reshape(-1, 4),
            ],
            axis=1,
        )
        for one in (row, expected)
    )
    alike = (np.abs(found[:, None] - other) <= TOLERANCE).all(axis=2)
    return bool(alike.any(axis=0).all() and alike.any(axis=1).all())


class Load:
    """Requests of several clients, each on one connection; every answer is checked."""

    def __init__(self, url, bodies, expected):
        self._address = urlsplit(url).netloc
        self._bodies, self._expected = bodies, expected

    def run(self, num_clients, num_requests, bar):
        """Sends the requests and returns what was measured."""
        self._numbers, self._bar = iter(range(num_requests)), bar
        self._lock = threading.Lock()
        self._seconds, self._wrong, self._failures = [], 0, []
        clients = [threading.Thread(target=self._client) for _ in range(num_clients)]
        begin = time.perf_counter()
        self._end = begin + LIMIT
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        elapsed = time.perf_counter() - begin
        p50, p99 = np.percentile(self._seconds or [np.nan], [50, 99]) * 1e3
        return {
            "clients": num_clients,
            "requests": num_requests,
            "images_a_second": len(self._seconds) / elapsed,
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "wrong": self._wrong,
            "failed": num_requests - len(self._seconds),
            "first_failure": (self._failures or [""])[0],
        }

    def _client(self):
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)
        try:
            while time.perf_counter() < self._end:
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                self._ask(connection, number % len(self._bodies))
        finally:
            connection.close()

    def _ask(self, connection, index):
        begin = time.perf_counter()
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", PATH, self._bodies[index], headers)
            answer = connection.getresponse()
            content = answer.read()
            seconds = time.perf_counter() - begin
            if answer.status != 200:
                raise ValueError(f"status {answer.status}: {content[:200]!r}")
            (row,) = json.loads(content)["predictions"]
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            with self._lock:
                self._failures.append(repr(error))
                self._bar.update()
            return
        right = is_right(row, self._expected[index])
        with self._lock:
            self._seconds.append(seconds)
            self._wrong += not right
            self._bar.update()


class CoreSeconds:
    """The share of all cores that others used: not this process, the server or its clients."""

    def __init__(self, server):
        self._server = server
        self._begin = self._now()

    def others_share(self):
        if self._begin[1] is None:
            return None
        (time_0, machine_0, ours_0), (time_1, machine_1, ours_1) = self._begin, self._now()
        others = machine_1 - machine_0 - (ours_1 - ours_0)
        return max(0.0, others / (time_1 - time_0) / num_cores())

    def _now(self):
        return (
            time.perf_counter(),
            machine_seconds(),
            time.process_time() + self._server.core_seconds(),
        )


def measure(server_name, weights, folder, images, num_requests):
    """Returns a row for each number of clients, and the memory of the server."""
    from server_process import started

    rows = [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images]
    bodies = [json.dumps({"instances": [row]}).encode() for row in rows]
    result = {"server": server_name, "weights": weights, "rows": []}
    with (
        Side("server_load", "bare", path=str(folder / weights)) as bare,
        started(f"{server_name}_server", folder / weights) as server,
        tqdm(total=num_requests, unit="request", leave=False, disable=None) as bar,
    ):

        def bare_speeds():
            words = {"images": images, "least": BARE_SECONDS}
            return [bare.images_a_second(batch_size=size, **words) for size in BARE_BATCHES]

        load = Load(server.url, bodies, bare.answers(images=images))
        load.run(8, WARM_UP, tqdm(disable=True))
        memory, speeds = [server.memory_bytes()], [bare_speeds()]
        for clients, share in CLIENTS.items():
            seconds = CoreSeconds(server)
            row = load.run(clients, round(num_requests * share), bar)
            row["others_share"] = seconds.others_share()
            memory.append(server.memory_bytes())
            speeds.append(bare_speeds())
            # The bare SavedModel is measured before and after, while the server waits.
            around = np.mean(speeds[-2:], axis=0)
            for size, speed in zip(BARE_BATCHES, around, strict=True):
                row[f"of_bare_batch_{size}"] = row["images_a_second"] / speed
            result["rows"].append(row)
    columns = dict(zip(map(str, BARE_BATCHES), zip(*speeds, strict=True), strict=True))
    return result | {"memory_bytes": memory, "bare_images_a_second": columns}


HEAD = (
    "server",
    "weights",
    "clients",
    "requests",
    "images a second",
    "of the bare SavedModel, batch 1",
    "batch 8",
    "p50 ms",
    "p99 ms",
    "wrong",
    "failed",
    "memory before, after, MB",
)


def table(results):
    """The results as Markdown."""
    lines = [HEAD, ["---"] * len(HEAD)]
    for result in results:
        memory = [round(value / 1e6) for value in result["memory_bytes"]]
        for row, *around in zip(result["rows"], memory, memory[1:], strict=False):
            first = [result["server"], result["weights"], row["clients"], row["requests"]]
            ratios = [f"{row[f'of_bare_batch_{size}']:.2f}" for size in BARE_BATCHES]
            speed, *times = (row[key] for key in ("images_a_second", "p50_ms", "p99_ms"))
            numbers = [f"{speed:.1f}", *ratios, *(f"{value:.1f}" for value in times)]
            last = [row["wrong"], row["failed"], ", ".join(map(str, around))]
            lines.append([*first, *numbers, *last])
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def server_versions(names):
    """Versions in the servers' environment."""
    from server_process import SERVERS_PYTHON

    command = [SERVERS_PYTHON, "-c", VERSIONS, "tensorflow", "numpy", *names]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--requests", type=int, default=10_000, help="to each server; default %(default)s"
    )
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--results", type=Path, help="directory for a JSON file")
    default = f"{platform.machine()}_{num_cores()}_cores"
    parser.add_argument("--hardware", default=default, help=f"in its name; default {default}")
    options = parser.parse_args(words)
    command = " ".join(["python benchmarks/server_load.py", *(words or sys.argv[1:])])
    versions = {"server_versions": server_versions(options.servers)}
    record = record_of(command, hardware()) | versions | {"servers": []}
    with tempfile.TemporaryDirectory() as folder:
        export_detectors(Path(folder))
        images = request_images()
        for server, weights in itertools.product(options.servers, options.weights):
            print(f"{server}, {weights} ...", file=sys.stderr, flush=True)
            result = measure(server, weights, Path(folder), images, options.requests)
            record["servers"].append(result)
            print(table([result]), file=sys.stderr, flush=True)
            if max(row["others_share"] or 0.0 for row in result["rows"]) > MAX_OTHERS_SHARE:
                print(f"warning: other processes used the cores during {server}", file=sys.stderr)
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        path = options.results / f"server_load_{options.hardware}.json"
        path.write_text(json.dumps(rounded(record), indent=1) + "\n")
    print(table(record["servers"]))
    rows = [row for result in record["servers"] for row in result["rows"]]
    for row in rows:
        if row["failed"]:
            print(
                f"error: {row['failed']} requests failed: {row['first_failure']}", file=sys.stderr
            )
    return 1 if any(row["wrong"] or row["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HELPERS))
    sys.exit(main())
