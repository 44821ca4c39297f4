"""The compose file of TF Serving: its files and flags exist, and its health check works in bash."""

import contextlib
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest
import yaml
from client_results import EXPORT
from google.protobuf import text_format
from server_process import free_port

SERVING = EXPORT / "serving"
# Flags of tensorflow_serving/model_servers/main.cc (9d981c5), read on 2026-11-30.
FLAGS = {
    "model_config_file",
    "enable_batching",
    "batching_parameters_file",
    "enable_model_warmup",
    "file_system_poll_wait_seconds",
}


@pytest.fixture(scope="module")
def service():
    text = (SERVING / "compose.yaml").read_text(encoding="utf-8")
    (service,) = yaml.safe_load(text)["services"].values()
    return service


@pytest.fixture(scope="module")
def mounts(service):
    """Sources by target; all are read-only."""
    volumes = [volume.split(":") for volume in service["volumes"]]
    assert {mode for _, _, mode in volumes} == {"ro"}
    return {target: source for source, target, _ in volumes}


def test_files_and_flags_exist(service, mounts):
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in service["command"])
    assert set(flags) == FLAGS
    for name in ("model_config_file", "batching_parameters_file"):
        assert (SERVING / mounts[flags[name]]).is_file()
    # Where the file says that `ssd-keras export` writes: the folder of the versions.
    assert (SERVING / mounts["/models/detector"]).resolve() == EXPORT.parent / "served" / "detector"


def test_the_configuration_serves_the_folder_that_is_mounted(mounts):
    messages = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2",
        reason="NOT TESTED: tensorflow-serving-api is not installed",
    )
    text = (SERVING / mounts["/config/models.config"]).read_text()
    config = text_format.Parse(text, messages.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == "detector" and model.base_path in mounts


def test_only_this_machine_reaches_the_ports(service):
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


@contextlib.contextmanager
def model_status(state):
    """A server that answers as TF Serving does for a model in this state."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            is_known = self.path == "/v1/models/detector"
            self.send_response(200 if is_known else 404)
            self.end_headers()
            status = {"version": "1", "state": state} if is_known else {}
            self.wfile.write(json.dumps({"model_version_status": [status]}, indent=1).encode())

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.skipif(shutil.which("bash") is None, reason="NOT TESTED: bash is not installed")
def test_the_health_check_waits_for_the_model(service):
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD" and command[:2] == ["bash", "-c"]

    def is_healthy(port):
        words = [word.replace("/8501", f"/{port}") for word in command]
        return subprocess.run(words, capture_output=True).returncode == 0

    assert re.search(r"/127\.0\.0\.1/8501 ", command[2])
    for state in ("AVAILABLE", "LOADING", "END"):
        with model_status(state) as port:
            assert is_healthy(port) is (state == "AVAILABLE"), state
    assert not is_healthy(free_port())
