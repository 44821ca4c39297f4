"""Worker processes give the stream of this process, or one line that says what is wrong."""

import dataclasses
import hashlib
import itertools
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from trainings import write_voc

from ssd_keras import Augmentation, MaxIoUAssigner, TargetEncoder, load_data
from ssd_keras.core.addresses import address_towards
from ssd_keras.data.pipeline import locate_broken_image, training_dataset
from ssd_keras.data.workers import ordered, processes, service
from ssd_keras.data.workers.service import DataWorkers

# Three batches of 4 in an epoch of 13 images: batches and epochs end at different places.
DATA, BATCH_SIZE, IMAGE_SIZE = "synthetic:shapes@train[:13]", 4, (32, 48)


@pytest.fixture(scope="module")
def workers():
    with DataWorkers(2) as started:
        yield started


def encoder():
    """A grid of 6 x 6 default boxes of half the image's side."""
    centers = (np.arange(6) + 0.5) / 6
    y, x = (axis.ravel() for axis in np.meshgrid(centers, centers, indexing="ij"))
    grid = np.stack([y - 0.25, x - 0.25, y + 0.25, x + 0.25], axis=-1)
    return TargetEncoder(MaxIoUAssigner(), grid.astype(np.float32))


def stream(data, workers=None, **options):
    return training_dataset(data, encoder(), IMAGE_SIZE, BATCH_SIZE, workers=workers, **options)


def digests(dataset, count):
    """A checksum of all bits of each of the first batches."""
    found = []
    for images, targets in itertools.islice(dataset, count):
        tensors = [images, *(targets[name] for name in sorted(targets))]
        found.append(hashlib.sha256(b"".join(x.numpy().tobytes() for x in tensors)).hexdigest())
    assert len(set(found)) == count
    return found


# Order


class Arrivals:
    """`receive` of arrivals that are known; None where nothing comes for a while."""

    def __init__(self, *arrivals):
        self.arrivals = iter(arrivals)
        self.recomputed = []

    def receive(self, seconds):
        step = next(self.arrivals)
        return None if step is None else (step, f"batch {step}")

    def recompute(self, steps):
        self.recomputed += steps
        return [(step, f"recomputed {step}") for step in steps]

    def read(self, start, count):
        return list(itertools.islice(ordered.in_order(self.receive, self.recompute, start), count))


def test_batches_are_sorted_and_none_is_computed_twice():
    arrivals = Arrivals(7, 5, None, 6, 8)
    assert arrivals.read(5, 4) == ["batch 5", "batch 6", "batch 7", "batch 8"]
    assert arrivals.recomputed == []


def test_a_lost_batch_is_computed_when_many_later_ones_wait(monkeypatch):
    monkeypatch.setattr(ordered, "MOST_WAITING", 3)
    # 0 and 2 are lost: at the third later one both are computed. Then 0 comes late, and goes.
    arrivals = Arrivals(1, 3, 4, 0, 5)
    expected = ["recomputed 0", "batch 1", "recomputed 2", "batch 3", "batch 4", "batch 5"]
    assert arrivals.read(0, 6) == expected
    assert arrivals.recomputed == [0, 2]


def test_a_lost_batch_is_computed_when_it_is_late(monkeypatch):
    monkeypatch.setattr(ordered, "PATIENCE", -1.0)
    # With nothing that came later there may be no worker: none is computed.
    arrivals = Arrivals(None, None, 1)
    assert arrivals.read(0, 2) == ["recomputed 0", "batch 1"]


# The stream


def test_workers_give_the_stream_of_this_process(workers):
    data = load_data(DATA)
    whole = digests(stream(data, seed=4), 12)
    assert digests(stream(data, workers, seed=4, start_step=2), 10) == whole[2:]
    part = {"seed": 4, "part": (1, 2), "start_step": 1, "repeat_factors": [5.5, *[1] * 12]}
    assert digests(stream(data, workers, **part), 3) == digests(stream(data, **part), 3)


def test_workers_give_the_same_mosaics(workers):
    # A group of eight images is computed by each of the two steps that have its halves.
    augmentation = Augmentation(mosaic=0.6, mixup=0.5)
    one, several = (
        stream(load_data(DATA), each, augmentation=augmentation, total_steps=6, start_step=1)
        for each in (None, workers)
    )
    assert digests(one, 5) == digests(several, 5)


def test_a_killed_worker_changes_nothing(workers):
    data = load_data(DATA)
    expected = digests(stream(data, seed=6), 60)
    victim = workers._processes._processes[0]
    message = rf"^data worker 0 \(process {victim.pid}\) ended \(signal 9\); another one starts"
    with pytest.warns(UserWarning, match=message):
        batches = iter(stream(data, workers, seed=6))
        first = digests([next(batches)], 1)
        victim.kill()
        assert first + digests(batches, 59) == expected
    assert workers._processes._processes[0].poll() is None


def test_a_broken_image_in_a_worker_is_named(workers, tmp_path):
    data = load_data(write_voc(tmp_path, count=6))
    image = tmp_path / "JPEGImages/p3.jpg"
    image.write_bytes(image.read_bytes()[:300])
    message = rf"^{re.escape(str(image))}: the image cannot be decoded \(.*\); replace the file, or"
    with pytest.raises(ValueError, match=message), locate_broken_image(data), workers.errors():
        digests(stream(data, workers), 12)


def test_a_step_in_python_is_refused(workers):
    def look(image, boxes, labels, seed):
        return (
            tf.ensure_shape(tf.numpy_function(np.flip, [image], tf.float32), image.shape),
            boxes,
            labels,
        )

    data, augmentation = load_data(DATA), Augmentation(after=[look])
    with pytest.raises(ValueError, match=r"^an augmentation step cannot be sent to data"):
        stream(data, workers, augmentation=augmentation)


# Arguments and processes


@pytest.mark.parametrize("words", ["host", ":5050", "host:", "host:0", "host:65536", "host:x"])
def test_an_address_has_a_host_and_a_port(words):
    message = rf"^'{words}' is not an address; expected HOST:PORT, such as host1:5050\.$"
    with pytest.raises(ValueError, match=message):
        DataWorkers(words)


def test_numbers_below_0_are_refused():
    with pytest.raises(ValueError, match=r"^data workers: -1 must be 0 or more, or HOST:PORT\.$"):
        DataWorkers(-1)


def test_workers_that_have_not_started_are_named():
    with pytest.raises(ValueError, match=r"^DataWorkers have not started; use them in a `with`"):
        stream(load_data(DATA), DataWorkers(2))


def test_an_address_where_nothing_answers_is_named():
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    message = (
        rf"^no dispatcher of data workers answers at localhost:{port} \(Connection refused\); "
        rf"start one there with `ssd-keras data serve --port {port}`, or correct the address\.$"
    )
    with pytest.raises(ValueError, match=message), DataWorkers(f"localhost:{port}"):
        pass


def test_a_taken_port_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        message = rf"^port {port} cannot be used \(Address already in use\); choose another\.$"
        with pytest.raises(ValueError, match=message):
            service.start_dispatcher(port)


def test_images_in_memory_beyond_the_limit_are_refused(monkeypatch):
    data = load_data(DATA)
    example = dataclasses.replace(data.examples[0], image=b"x" * 1000)
    data = dataclasses.replace(data, examples=(example,) * 3)
    monkeypatch.setattr("ssd_keras.data.pipeline.MOST_BYTES_OF_GRAPH", 2999)
    workers = DataWorkers("localhost:1")
    with pytest.raises(ValueError, match=r"^0\.0 GB of images are in memory, and at most 0\.0 GB"):
        stream(data, workers)


def test_workers_that_cannot_start_end_the_training(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    started = processes.WorkerProcesses("localhost:1", 1)
    message = r"^data worker 0 \(process \d+\) cannot start: exit status 1: no message; the last 3"
    deadline = time.monotonic() + 30
    with (
        pytest.raises(ValueError, match=message),
        pytest.warns(UserWarning, match="exit status 1"),
    ):
        while time.monotonic() < deadline:
            started.check()
    started.stop()


def test_the_address_towards_this_host():
    assert address_towards("127.0.0.1:5050") == "127.0.0.1"


@pytest.mark.slow
def test_workers_end_with_a_killed_process():
    program = (
        "import time\n"
        "from ssd_keras.data.workers.processes import WorkerProcesses\n"
        "started = WorkerProcesses('localhost:1', 2)\n"
        "print(*[each.pid for each in started._processes], flush=True)\n"
        "time.sleep(100)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, f"one of {pids} lives on"
        time.sleep(0.1)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
