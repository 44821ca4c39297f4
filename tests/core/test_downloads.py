"""Downloads: what is fetched, resumed, refused and left behind."""

import fcntl
import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import requests
from http_files import serving

from ssd_keras.core import downloads
from ssd_keras.core.downloads import cache_directory, fetch

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: three blocks
SHA256, SIZE = hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.files["/a/model.pth"] = CONTENT
        yield server


def cached_files():
    return sorted(
        os.path.relpath(os.path.join(directory, name), cache_directory())
        for directory, _, names in os.walk(cache_directory())
        for name in names
    )


def test_file_is_fetched_once(server):
    path = fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert cached_files() == [f"{SHA256[:16]}/model.pth"]
    assert fetch(f"{server.address}/a/model.pth", SHA256, SIZE) == path
    assert server.requests == [("/a/model.pth", None)]


def test_damaged_file_in_the_cache_is_fetched_again(server):
    path = fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    with open(path, "r+b") as file:
        file.write(b"x")
    assert fetch(f"{server.address}/a/model.pth", SHA256, SIZE) == path
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert len(server.requests) == 2


def test_a_connection_that_breaks_once_is_no_matter(server):
    server.break_after = 1_500_000
    with open(fetch(f"{server.address}/a/model.pth", SHA256, SIZE), "rb") as file:
        assert file.read() == CONTENT
    # Whole blocks of 2**20 bytes arrive.
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={2**20}-"]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_broken_transfer_goes_on(server, knows_ranges):
    server.break_after = 1_100_000
    with pytest.raises(
        ValueError, match=r"/model.pth could not be downloaded \(.*the transfer resumes"
    ):
        fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    (partial,) = cached_files()
    assert partial == f"{SHA256[:16]}/.writing-model.pth"
    size = os.path.getsize(os.path.join(cache_directory(), partial))
    assert size == 2 * 2**20  # of two attempts
    server.break_after, server.knows_ranges = None, knows_ranges
    with open(fetch(f"{server.address}/a/model.pth", SHA256, SIZE), "rb") as file:
        assert file.read() == CONTENT
    assert server.requests[2:] == [("/a/model.pth", f"bytes={size}-")]
    assert cached_files() == [f"{SHA256[:16]}/model.pth"]


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("stated", [None, "abc", "-5", "1e9", "10", "\u00b2"])
def test_a_transfer_ends_when_the_size_is_passed(server, stated, knows_ranges):
    server.files["/a/model.pth"], server.length = bytes(40_000_000), stated
    folder = os.path.join(cache_directory(), SHA256[:16])
    os.makedirs(folder)
    with open(os.path.join(folder, ".writing-model.pth"), "wb") as file:
        file.write(CONTENT[: 2**20])  # of an earlier attempt
    server.knows_ranges = knows_ranges
    words = "could not be downloaded|gave another file" if stated == "10" else "gave more than the"
    with pytest.raises(ValueError, match=rf"/a/model\.pth ({words})"):
        fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    assert server.num_sent < 20_000_000  # beside what lies in the buffers of the connection


@pytest.mark.parametrize("stated", ["abc", "", "1e9"])
def test_a_length_that_is_no_number_is_no_matter(server, stated):
    server.length = stated
    with open(fetch(f"{server.address}/a/model.pth", SHA256, SIZE), "rb") as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("kind", ["file", "below a file", "nowhere"])
def test_a_cache_that_cannot_be_used_is_named(server, tmp_path, monkeypatch, kind):
    (tmp_path / "file").write_text("mine")
    places = {"file": "file", "below a file": "file/below", "nowhere": "/proc/nowhere"}
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / places[kind]))
    message = r"^the cache '.*' cannot be used \(.*\); make room there, or set SSD_KERAS_CACHE to"
    with pytest.raises(ValueError, match=message):
        fetch(f"{server.address}/a/model.pth", SHA256, SIZE)


def test_whole_partial_file_needs_no_more_bytes(server):
    folder = os.path.join(cache_directory(), SHA256[:16])
    os.makedirs(folder)
    with open(os.path.join(folder, ".writing-model.pth"), "wb") as file:
        file.write(CONTENT)  # killed between the last byte and the move
    with open(fetch(f"{server.address}/a/model.pth", SHA256, SIZE), "rb") as file:
        assert file.read() == CONTENT
    assert cached_files() == [f"{SHA256[:16]}/model.pth"]


def test_another_file_is_refused(server):
    server.files["/a/model.pth"] = CONTENT[:-1] + b"!"
    found = hashlib.sha256(server.files["/a/model.pth"]).hexdigest()
    with pytest.raises(
        ValueError,
        match=rf"gave another file: its SHA-256 is {found}, expected {SHA256}; the file was",
    ):
        fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    assert cached_files() == []


@pytest.mark.parametrize(
    ("content_type", "page"),
    [("text/html; charset=utf-8", b"Quota exceeded"), ("application/zip", b"\n<!DOCTYPE html>...")],
)
def test_web_page_is_refused(server, content_type, page):
    server.files["/a/model.pth"], server.content_type = page, content_type
    with pytest.raises(ValueError, match=r"/model\.pth gave a web page instead of the file"):
        fetch(f"{server.address}/a/model.pth", SHA256, SIZE)
    assert cached_files() == []


def test_missing_file_and_missing_net_are_told(server):
    with pytest.raises(
        ValueError, match=r"/b\.pth could not be downloaded \(404 .*put it at .*b\.pt"
    ):
        fetch(f"{server.address}/b.pth", SHA256, SIZE)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/model.pth"
        with pytest.raises(ValueError, match=r"model\.pth could not be downloaded .* put it at "):
            fetch(address, SHA256, SIZE)
    assert cached_files() == []


def test_file_put_into_the_cache_by_hand_is_used_offline(server):
    with pytest.raises(ValueError) as caught:
        fetch(f"{server.address}/gone/model.pth", SHA256, SIZE)
    place = str(caught.value).rpartition("put it at ")[2].removesuffix(".")
    with open(place, "wb") as file:
        file.write(CONTENT)
    assert fetch(f"{server.address}/gone/model.pth", SHA256, SIZE) == place
    assert len(server.requests) == 1


NEVER_CONNECTED = {
    "the host is not found": requests.ConnectionError("(Caused by NameResolutionError(...))"),
    "no connection": requests.ConnectionError("(Caused by NewConnectionError(...))"),
    "no connection within 10 seconds": requests.ConnectTimeout("HTTPSConnectionPool(...)"),
    "certificate is not accepted": requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"),
    "the proxy does not connect": requests.exceptions.ProxyError("HTTPSConnectionPool(...)"),
}


@pytest.mark.parametrize("reason", NEVER_CONNECTED)
def test_without_a_connection_one_line_says_what_to_put_where(server, monkeypatch, reason):
    calls = []

    def get(address, timeout, **_):
        calls.append(timeout)
        raise NEVER_CONNECTED[reason]

    monkeypatch.setattr(requests, "get", get)
    path = os.path.join(cache_directory(), SHA256[:16], "b.pth")
    message = (
        rf"^https://example\.org/b\.pth could not be downloaded \([^()]*{reason}\); try again "
        r"with a connection, the transfer resumes, or download the file elsewhere and put it at "
        rf"{path}\.$"
    )
    with pytest.raises(ValueError, match=message):
        fetch("https://example.org/b.pth", SHA256, SIZE)
    assert calls == [(10, 30)]  # once: nobody waits for another attempt


def test_those_who_need_a_file_wait_for_the_one_that_downloads_it(server, capsys):
    address = f"{server.address}/a/model.pth"
    folder = os.path.join(cache_directory(), SHA256[:16])
    os.makedirs(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as another process that downloads
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(fetch, address, SHA256, SIZE, progress=True) for _ in range(3)]
        assert not wait(waiting, timeout=0.3).done
        assert server.requests == []
        os.close(descriptor)  # it is killed
        assert {each.result() for each in waiting} == {os.path.join(folder, "model.pth")}
    assert server.requests == [("/a/model.pth", None)]
    assert cached_files() == [f"{SHA256[:16]}/model.pth"]
    assert "waiting for another process that downloads model.pth ..." in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["system", "file system"])
def test_without_locks_each_downloads_a_file_of_its_own(server, monkeypatch, kind):
    def flock(descriptor, operation):
        raise OSError(95, "Operation not supported")

    if kind == "system":
        monkeypatch.setattr(downloads, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", flock)
    with ThreadPoolExecutor(3) as threads:
        arguments = f"{server.address}/a/model.pth", SHA256, SIZE
        fetches = [threads.submit(fetch, *arguments) for _ in range(3)]
        (path,) = {each.result() for each in fetches}
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert cached_files() == [f"{SHA256[:16]}/model.pth"]


def test_progress_names_the_file_and_its_size(server, capsys):
    fetch(f"{server.address}/a/model.pth", SHA256, SIZE, progress=True)
    shown = capsys.readouterr().err
    assert "downloading model.pth: 100%" in shown and "2.30M/2.30M" in shown
    assert fetch(f"{server.address}/a/model.pth", SHA256, SIZE, progress=True)
    assert capsys.readouterr().err == ""
