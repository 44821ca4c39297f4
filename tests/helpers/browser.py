"""A headless Chromium for tests, controlled over its debugging pipe: no driver, no port."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Its sandbox refuses root, which containers run as.
FLAGS = ("--headless", "--no-sandbox", "--disable-background-networking", "--window-size=1280,900")
# It reads commands from file 3 and writes answers to file 4.
SHELL = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'


def chromium_path():
    """Path of Chromium, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


class Page:
    """A page of a browser process; messages are JSON and end with a zero byte."""

    def __init__(self, process):
        self._process = process
        self._rest = b""
        self._last = 0
        self._session = {}
        target = self.call("Target.createTarget", url="about:blank")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def call(self, method, **parameters):
        """Runs a command of the DevTools protocol and returns its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters, **self._session}
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self):
        while b"\0" not in self._rest:
            data = self._process.stdout.read(1 << 16)
            if not data:
                raise RuntimeError("Chromium ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression):
        """The value of a JavaScript expression, through JSON."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60.0):
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > end:
                text = self.evaluate("document.body.innerText")
                raise TimeoutError(f"{expression} is not true after {seconds} s; the page: {text}")
            time.sleep(0.05)

    def open(self, address):
        """Opens an address and waits until the page is loaded."""
        self.evaluate("globalThis.isOld = true")
        self.call("Page.navigate", url=address)
        self.wait_for("!globalThis.isOld && document.readyState === 'complete'")

    def choose_file(self, selector, path):
        """Chooses a file in an input of type file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


@contextlib.contextmanager
def open_page():
    """Opens an empty page in a new browser with a new profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = (*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}")
        command = ["sh", "-c", SHELL, "sh", chromium_path(), *options]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe) as process:
            try:
                yield Page(process)
            finally:
                process.terminate()
