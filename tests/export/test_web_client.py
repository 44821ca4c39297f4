"""The web page in export/clients/web, in a headless Chromium, against the Keras model."""

import functools
import http.server
import re
import shutil
import subprocess
import threading

import pytest
from browser import chromium_path, open_page
from client_results import EXPORT, assert_alike, assert_equal, exported, keras_result
from PIL import Image

pytestmark = pytest.mark.consumers
ENDED = "['done', 'failed'].includes(document.documentElement?.dataset.state)"
STATUS = "document.getElementById('status').textContent"
TABLE = """
[...document.querySelectorAll('#detections tr')].map(
    row => [...row.cells].map(cell => cell.textContent))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The installed folder and the test's files, on a loopback server."""
    if chromium_path() is None:
        pytest.skip("NOT TESTED: Chromium is not installed")
    if shutil.which("npm") is None:
        pytest.skip("NOT TESTED: npm is not installed")
    folder = tmp_path_factory.mktemp("web") / "web"
    shutil.copytree(EXPORT / "clients" / "web", folder, ignore=shutil.ignore_patterns("node_*"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        installed = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
        is_installed = installed.returncode == 0
    except subprocess.TimeoutExpired:
        is_installed = False
    if not is_installed:
        pytest.skip("NOT TESTED: npm could not install @mediapipe/tasks-vision")
    for name in ("detector.tflite", "no_model.tflite", "fitting.png", "no_image.png"):
        shutil.copy(exported() / name, folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(site):
    with open_page() as page:
        yield page


def move_slider(page, threshold):
    page.evaluate(
        f"document.getElementById('display-threshold').value = {threshold};"
        "document.getElementById('display-threshold').dispatchEvent(new Event('input'))"
    )


def result_of(page):
    """The page's table and image size, in the clients' form."""
    width, height = map(int, re.search(r"(\d+) × (\d+) pixels", page.evaluate(STATUS)).groups())
    detections = [
        {"label": label, "score": float(score), "box": [float(value) for value in box]}
        for label, score, *box in page.evaluate(TABLE)
    ]
    return {"width": width, "height": height, "detections": detections}


def open_with(page, address):
    """Opens an address and waits until the page has finished."""
    page.open(address)
    page.wait_for(ENDED)


def test_page_agrees_with_keras(page, site):
    open_with(page, f"{site}?model=detector.tflite&image=fitting.png&display-threshold=0")
    expected = keras_result(exported() / "fitting.png")
    # Scores have three digits; MediaPipe cuts a box's corner and size to whole pixels.
    assert_equal(result_of(page), expected, score=0.01, pixels=2.0)


def test_slider_hides_and_shows(page, site):
    open_with(page, f"{site}?model=detector.tflite&image=fitting.png&display-threshold=0.8")
    scores = [each["score"] for each in keras_result(exported() / "fitting.png")["detections"]]
    assert scores == sorted(scores, reverse=True)
    for count in (100, 10):
        move_slider(page, (scores[count - 1] + scores[count]) / 2)
        assert len(page.evaluate(TABLE)) == pytest.approx(count, abs=2)


def test_files_are_chosen_by_hand(page, site, tmp_path):
    """A rotated JPEG with 8x8 pixels for each of the fitting image: resizing gives that image."""
    fitting = Image.open(exported() / "fitting.png").convert("RGB")
    width, height = fitting.size
    large = fitting.resize((8 * width, 8 * height), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    large.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "large.jpg", quality=100, subsampling=0, exif=exif
    )
    page.open(site)
    page.choose_file("#image", tmp_path / "large.jpg")
    page.wait_for(f"{STATUS} === 'Choose a model.'")
    page.choose_file("#model", exported() / "detector.tflite")
    page.wait_for(ENDED)
    move_slider(page, 0)
    expected = keras_result(exported() / "fitting.png")
    for detection in expected["detections"]:
        detection["box"] = [8 * value for value in detection["box"]]
    # Not equal: JPEG blurs a little, and a whole pixel is more of a narrow box.
    assert_alike(result_of(page), {**expected, "width": 8 * 96, "height": 8 * 64})


def test_boxes_are_drawn(page, site):
    """The middle of the best box's left edge has the colour that the list shows for its label."""
    open_with(page, f"{site}?model=detector.tflite&image=fitting.png&display-threshold=0.99")
    label, _, left, top, _, bottom = page.evaluate(TABLE)[0]
    assert label == keras_result(exported() / "fitting.png")["detections"][0]["label"]
    # 96x64 pixels fill the canvas.
    point = f"{left} * canvas.width / 96, ({top} + {bottom}) / 2 * canvas.height / 64"
    pixel = f"[...canvas.getContext('2d').getImageData({point}, 1, 1).data.slice(0, 3)]"
    swatch = page.evaluate("document.querySelector('.swatch').style.background")
    color = [int(value) for value in re.findall(r"\d+", swatch)]
    assert page.evaluate(pixel) == pytest.approx(color, abs=30)
    move_slider(page, 1)
    assert page.evaluate(pixel) != pytest.approx(color, abs=60)


BAD_FILES = [
    ("model=gone.tflite&image=fitting.png", r"Loading the model failed: gone.tflite: 404 .*"),
    ("model=no_model.tflite&image=fitting.png", r"Loading the model failed: .* Flatbuffer .*"),
    ("model=detector.tflite&image=no_image.png", r"Reading the image failed: .* decoded.*"),
]


@pytest.mark.parametrize(("query", "message"), BAD_FILES)
def test_bad_files_are_reported(query, message, page, site):
    open_with(page, f"{site}?{query}")
    assert re.fullmatch(message, page.evaluate(STATUS))
    assert page.evaluate("document.getElementById('result').hidden")


def test_nothing_can_leave_the_page(page, site):
    """MediaPipe reports its use to its makers; the page's policy forbids all other addresses."""
    open_with(page, f"{site}?model=detector.tflite&image=fitting.png")
    page.evaluate(
        "document.addEventListener('securitypolicyviolation', event => refused = event.blockedURI);"
        "fetch('http://localhost:9/log', {method: 'POST', body: 'x'}).catch(() => 0); 0"
    )
    page.wait_for("globalThis.refused === 'http://localhost:9/log'", seconds=10)
    assert page.evaluate("globalThis.refused") == "http://localhost:9/log"
