"""The load test counts wrong and failed answers, and ends."""

import contextlib
import http.server
import importlib
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from server_process import skip_without

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def server_load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("server_load")
    for name in [path.stem for path in BENCHMARKS.glob("*.py")]:
        sys.modules.pop(name, None)


def row_of(*detections, is_valid=True, slots=3):
    """The outputs for an image, of class, score and box; unused slots are zero."""
    padded = [*detections, *[(0, 0.0, (0, 0, 0, 0))] * (slots - len(detections))]
    classes, scores, boxes = zip(*padded, strict=True)
    columns = {"detection_classes": classes, "detection_scores": scores, "detection_boxes": boxes}
    return columns | {"num_detections": len(detections), "image_is_valid": is_valid}


DOG, CAT = (0, 0.9, (0.1, 0.2, 0.3, 0.4)), (1, 0.9, (0.5, 0.5, 0.7, 0.9))


def test_an_answer_is_right_by_hand(server_load):
    expected = row_of(DOG, CAT)
    assert server_load.is_right(row_of(DOG, CAT), expected)
    assert server_load.is_right(row_of(CAT, DOG), expected)  # of equal scores
    assert server_load.is_right(row_of((0, 0.9005, (0.1, 0.2, 0.3, 0.4005)), CAT), expected)
    assert server_load.is_right(row_of(is_valid=False), row_of(is_valid=False))
    for wrong in (
        row_of(DOG),
        row_of(DOG, DOG),
        row_of(DOG, CAT, CAT),
        row_of(DOG, CAT, is_valid=False),
        row_of(DOG, (1, 0.902, CAT[2])),
        row_of(DOG, (0, 0.9, CAT[2])),
        row_of(DOG, (1, 0.9, (0.5, 0.5, 0.7, 0.902))),
        row_of(),
    ):
        assert not server_load.is_right(wrong, expected)


@contextlib.contextmanager
def answers_of(answers):
    """A server whose answer the request itself names; None is an error."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = answers[request["index"]]
            body = json.dumps({"predictions": [answer]}).encode()
            self.send_response(200 if answer else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_answers_of_neighbours_and_failures_are_counted(server_load):
    expected = [row_of(DOG), row_of(CAT), row_of(is_valid=False), row_of(DOG, CAT)]
    bodies = [json.dumps({"index": index}).encode() for index in range(4)]
    bar = server_load.tqdm(disable=True)
    # Of 40 requests, each image has 10.
    for answers, wrong, failed in (
        (expected, 0, 0),
        ([expected[1], expected[0], *expected[2:]], 20, 0),
        ([*expected[:3], None], 0, 10),
    ):
        with answers_of(answers) as url:
            row = server_load.Load(url, bodies, expected).run(3, 40, bar)
        assert (row["wrong"], row["failed"]) == (wrong, failed)
        assert ("status 500" in row["first_failure"]) == bool(failed)
        assert row["images_a_second"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"]


def test_the_load_ends_without_a_server_and_at_its_limit(server_load, monkeypatch):
    bar = server_load.tqdm(disable=True)
    with answers_of([]) as url:
        pass
    row = server_load.Load(url, [b"{}"], [row_of()]).run(2, 30, bar)
    assert (row["failed"], row["wrong"], row["images_a_second"]) == (30, 0, 0)
    monkeypatch.setattr(server_load, "LIMIT", 0.0)
    with answers_of([row_of()]) as url:
        row = server_load.Load(url, [b'{"index": 0}'], [row_of()]).run(2, 30, bar)
    assert row["failed"] == 30 and np.isnan(row["p50_ms"])


@pytest.mark.servers
def test_a_short_load(server_load, tmp_path, capsys, monkeypatch):
    skip_without("kserve")
    for name, less in {"BARE_SECONDS": 0.0, "NUM_IMAGES": 9, "WARM_UP": 8}.items():
        monkeypatch.setattr(server_load, name, less)
    words = ["--requests", "50", "--servers", "kserve", "--weights", "constants"]
    assert server_load.main([*words, "--results", str(tmp_path), "--hardware", "here"]) == 0
    record = json.loads((tmp_path / "server_load_here.json").read_text())
    (result,) = record["servers"]
    assert [row["clients"] for row in result["rows"]] == [1, 8, 32]
    assert sum(row["requests"] for row in result["rows"]) == 50
    assert all(row["of_bare_batch_1"] > 0 for row in result["rows"])
    assert len(result["memory_bytes"]) == 4 and min(result["memory_bytes"]) > 1e8
    assert set(record["server_versions"]) == {"tensorflow", "numpy", "kserve"}
    assert "| kserve | constants | 32 | 20 | " in capsys.readouterr().out
