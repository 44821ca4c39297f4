"""Images of an object storage, S3 as moto serves it on the loopback address."""

import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from trainings import encoded

from ssd_keras.core.images import decode_image_file
from ssd_keras.engine.batch.part_detector import PartDetector
from ssd_keras.engine.batch.sources import find_locations, stored_image

pytestmark = pytest.mark.consumers


@pytest.fixture
def bucket(monkeypatch):
    """The query of an address of the storage, and a function that stores a file there."""
    boto3 = pytest.importorskip("boto3", reason="NOT TESTED: moto is not installed")
    pytest.importorskip("moto.server", reason="NOT TESTED: moto is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{server}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.2)
        client = boto3.client("s3", endpoint_url=server)
        client.create_bucket(Bucket="photos")
        query = f"?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
        yield query, lambda key, body: client.put_object(Bucket="photos", Key=key, Body=body)
        client.close()
    finally:
        process.kill()
        process.wait()


def test_images_of_s3(bucket, monkeypatch):
    query, put = bucket
    for number in range(1005):  # more than S3 lists at once
        put(f"many/{number:04d}.jpg", b"")
    put("a b/deep/c+1.png", encoded("PNG", size=(30, 20)))
    put("a b/notes.txt", b"none")
    put("a b/broken.jpg", b"no image")
    assert len(find_locations([f"s3://photos/many{query}"])) == 1005
    found = find_locations([f"s3://photos/a%20b{query}"])
    keys = ("a%20b/broken.jpg", "a%20b/deep/c%2B1.png")
    assert found == [f"s3://photos/{key}{query}" for key in keys]
    assert decode_image_file(stored_image(found[1]).source).pixels.shape == (20, 30, 3)
    assert find_locations([found[0]]) == found[:1]
    with pytest.raises(FileNotFoundError, match=r"^'s3://photos/gone\?.*' holds no image; expecte"):
        find_locations([f"s3://photos/gone{query}"])
    part = PartDetector.__new__(PartDetector)
    part.max_pixels = 1000
    problems = [part._read(f"s3://photos/{key}{query}").problem for key in (*keys, "gone.jpg")]
    kinds = [problem and problem.kind.name for problem in problems]
    assert kinds == ["BROKEN_IMAGE", None, "MISSING_IMAGE"]
