"""A small HTTP server of files in memory, which knows ranges and can break off."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 16


class FileServer:
    """Serves bytes by path and keeps account of what was asked.

    Attributes:
        files: content by path, such as {"/model.pth": b"..."}.
        content_type: of all answers.
        length: header Content-Length of all answers, None: the right one.
        break_after: bytes after which an answer breaks off, None: never.
        knows_ranges: whether a part may be asked for.
        num_sent: bytes of content that the readers took.
        requests: pairs (path, header Range or None).
    """

    def __init__(self):
        self.files, self.requests = {}, []
        self.content_type = "application/octet-stream"
        self.break_after, self.knows_ranges = None, True
        self.length, self.num_sent = None, 0
        self.address = ""

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        start = int(wanted[len("bytes=") : -1]) if wanted and self.knows_ranges else 0
        if start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", self.content_type)
        right = str(len(content) - start)
        handler.send_header("Content-Length", right if self.length is None else self.length)
        handler.end_headers()
        end = len(content) if self.break_after is None else start + self.break_after
        with contextlib.suppress(ConnectionError):  # the reader has left
            for first in range(start, end, BLOCK):
                handler.wfile.write(content[first : min(first + BLOCK, end)])
                self.num_sent += BLOCK


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    """Runs a server on a free port of this machine."""
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
