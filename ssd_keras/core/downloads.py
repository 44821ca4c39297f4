"""Downloads files into a cache: resumes broken transfers, verifies checksums."""

import contextlib
import hashlib
import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Iterator

import requests
from tqdm.auto import tqdm

from ssd_keras.core.files import PARTIAL_PREFIX, flush
from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CACHE_VARIABLE = "SSD_KERAS_CACHE"
BLOCK = 1 << 20
CONNECT_SECONDS, TIMEOUT_SECONDS = 10, 30  # to connect; between two parts of a file
TIMEOUTS = (CONNECT_SECONDS, TIMEOUT_SECONDS)
RANGE_NOT_SATISFIABLE = 416
BROKEN_CONNECTION = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def cache_directory() -> str:
    """Returns the folder of downloaded files."""
    return os.path.expanduser(os.environ.get(CACHE_VARIABLE) or "~/.cache/ssd_keras")


def fetch(address: str, sha256: str, max_bytes: int, *, progress: bool | None = None) -> str:
    """Returns the path of a file in the cache; downloads it where it is missing.

    A broken transfer resumes where it ended, once at once; one of more bytes ends there. Processes
    that need the same file wait for the one that downloads it.
    """
    # Named by the checksum too: two addresses may end in the same name.
    name = re.sub(r"[^\w.-]", "_", address.rpartition("/")[2])
    directory = os.path.join(cache_directory(), sha256[:16])
    path = os.path.join(directory, name)
    try:
        if _is_whole(path, sha256):
            return path
        os.makedirs(directory, exist_ok=True)
        with _locked(directory, name, progress) as is_locked:
            if _is_whole(path, sha256):  # by another process in the meantime
                return path
            own = "" if is_locked else f"{os.getpid()}-{threading.get_ident()}-"
            partial = os.path.join(directory, f"{PARTIAL_PREFIX}{own}{name}")
            _transfer_with_retry(address, partial, max_bytes, progress)
            found = checksum(partial)
            if found == sha256:
                flush(partial)
                os.replace(partial, path)
                return path
            os.remove(partial)
    except requests.RequestException as error:
        raise ValueError(
            f"{address} could not be downloaded ({_reason(error)}); try again with a connection, "
            f"the transfer resumes, or download the file elsewhere and put it at {path}."
        ) from error
    except OSError as error:
        raise ValueError(
            f"the cache {directory!r} cannot be used ({error.strerror or error}); make room there, "
            f"or set {CACHE_VARIABLE} to another folder."
        ) from error
    raise ValueError(
        f"{address} gave another file: its SHA-256 is {found}, expected {sha256}; the file was "
        "deleted. Try again, or ask its publisher."
    )


def _is_whole(path: str, sha256: str) -> bool:
    return os.path.isfile(path) and checksum(path) == sha256


@contextlib.contextmanager
def _locked(directory: str, name: str, progress: bool | None) -> Iterator[bool]:
    """Waits for the lock on a folder; yields False where the system has no such locks."""
    if fcntl is None:
        yield False
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield _lock(descriptor, name, progress)
    finally:
        os.close(descriptor)  # which ends the lock, as the end of the process does


def _lock(descriptor: int, name: str, progress: bool | None) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if shows_progress(progress):
            print(f"waiting for another process that downloads {name} ...", file=sys.stderr)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _reason(error: requests.RequestException) -> str:
    """Returns why there was no answer; the words of the libraries are long and name objects."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return one_line(f"{error.response.status_code} {error.response.reason}", 160)
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not connect"
    if isinstance(error, requests.exceptions.SSLError):
        return "the connection is not secure: the certificate is not accepted"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS} seconds"
    if "NameResolution" in str(error):
        return "no connection: the host is not found"
    if isinstance(error, BROKEN_CONNECTION):
        return "no connection" if "NewConnection" in str(error) else "the connection broke"
    return one_line(" ".join(str(error).split()), 160) or type(error).__name__


def download_bytes(address: str, max_bytes: int, max_seconds: float) -> bytes:
    """Returns the content of an address, which is kept nowhere."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "ssd_keras"}
    content, end = bytearray(), time.monotonic() + max_seconds
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUTS) as response:
            response.raise_for_status()
            for block in response.iter_content(BLOCK // 16):
                content += block
                if len(content) > max_bytes or time.monotonic() > end:
                    limit = f"{max_bytes} bytes or {max_seconds:g} seconds"
                    raise ValueError(f"{address} took more than {limit}; download it to a file.")
            _refuse_web_page(address, response.headers.get("Content-Type", ""), bytes(content))
    except requests.RequestException as error:
        raise ValueError(
            f"{address} could not be downloaded ({_reason(error)}); check the address and the "
            "connection, or download it to a file."
        ) from error
    return bytes(content)


def checksum(path: str) -> str:
    """Returns the SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _transfer_with_retry(address: str, partial: str, max_bytes: int, progress: bool | None) -> None:
    try:
        _transfer(address, partial, max_bytes, progress)
    except BROKEN_CONNECTION:
        if not os.path.exists(partial):  # nothing came: there is no connection
            raise
        _transfer(address, partial, max_bytes, progress)


def _transfer(address: str, partial: str, max_bytes: int, progress: bool | None) -> None:
    """Appends the missing bytes to the partial file."""
    present = os.path.getsize(partial) if os.path.exists(partial) else 0
    # Compressed, a few bytes could unpack to many.
    headers = {"Accept-Encoding": "identity"}
    if present:
        headers["Range"] = f"bytes={present}-"
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUTS) as response:
        if present and response.status_code == RANGE_NOT_SATISFIABLE:
            return  # the partial file is whole
        response.raise_for_status()
        is_resumed = response.status_code == requests.codes.partial_content
        blocks = response.iter_content(BLOCK)
        first = next(blocks, b"")
        if not is_resumed:
            _refuse_web_page(address, response.headers.get("Content-Type", ""), first)
        stated = response.headers.get("Content-Length", "")
        length = int(stated) if stated.isascii() and stated.isdecimal() else 0
        start = present if is_resumed else 0
        bar = tqdm(
            total=start + length or None,
            initial=start,
            unit="B",
            unit_scale=True,
            desc=f"downloading {address.rpartition('/')[2]}",
            **bar_options(shows_progress(progress)),
        )
        with open(partial, "ab" if is_resumed else "wb") as file, bar:
            for block in itertools.chain([first], blocks):
                file.write(block)
                bar.update(len(block))
                if file.tell() > max_bytes:
                    os.remove(partial)
                    raise ValueError(
                        f"{address} gave more than the {max_bytes} bytes of the file; the transfer "
                        "was ended and deleted. Try again, or ask its publisher."
                    )


def _refuse_web_page(address: str, content_type: str, first: bytes) -> None:
    """Sign-in and error pages come with status 200 too."""
    if "text/html" in content_type or first.lstrip()[:1] == b"<":
        raise ValueError(
            f"{address} gave a web page instead of the file; nothing was written. Open the address "
            "in a browser to see the page."
        )
