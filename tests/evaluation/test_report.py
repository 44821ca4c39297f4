"""The report of an evaluation: whole in one file, safe with any name, readable on any screen."""

import html.parser
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import chromium_path, open_page
from scenes import detection, example, random_scene
from trainings import StubDetector, validation_data

from ssd_keras import cli
from ssd_keras.data.records import DetectionData
from ssd_keras.engine.evaluate import evaluate, write_json
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.mistakes import largest_missed
from ssd_keras.evaluation.report import write_report

# Few machines have a font for Japanese, which a name here needs.
pytestmark = pytest.mark.filterwarnings("ignore:no font here")

EVIL = "<script>document.title='hurt'</script>"
EVIL_FILE = '"><img src=x onerror=alert(1)>.jpg'


def evil_scene():
    """A random scene whose names are HTML; the images have names of files."""
    data, detections = random_scene(3)
    names = (EVIL, 'a "long" & <b>bold</b> name of a class $x_1$', "犬", "other")
    examples = tuple(
        example(
            e.image_id,
            e.boxes,
            e.labels,
            difficult=e.is_difficult,
            image=f"folder/{number}{EVIL_FILE}",
        )
        for number, e in enumerate(data.examples)
    )
    return DetectionData(names, examples), detections


class Tags(html.parser.HTMLParser):
    """Names of tags, and attributes, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.names, self.attributes = set(), []

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.attributes += attributes


def read(example):
    return np.full((example.height, example.width, 3), 90, np.uint8)


def written(folder, data, detections, **options):
    write_report(str(folder), data, detections, **options)
    assert sorted(one.name for one in folder.iterdir()) == ["report.html", "report.json"]
    return (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_in_the_report_lies_elsewhere_or_runs(tmp_path):
    data, detections = evil_scene()
    page = written(tmp_path, data, detections, title=f"run {EVIL}", read=read)
    assert page.count("&lt;script&gt;") >= 4 and "url(" not in page and "@import" not in page
    parser = Tags()
    parser.feed(page)
    assert parser.names == {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "div", "dt"),
        *(
            "nav",
            "a",
            "small",
            "dd",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "span",
            "figure",
            "figcaption",
            "img",
        ),
    }
    known = {
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "style",
        "src",
        "alt",
        "href",
        "id",
    }
    assert {name for name, _ in parser.attributes} == known
    sources = [value for name, value in parser.attributes if name == "src"]
    links = [value for name, value in parser.attributes if name == "href"]
    targets = {f"#{value}" for name, value in parser.attributes if name == "id"}
    assert len(links) == 9 and set(links) == targets
    matches = match(data, detections)
    # Three classes with objects have curves; those of ten or more have slices beside the mean.
    assert (matches.num_objects > 0).sum() == 3 and (matches.num_objects >= 10).sum() == 1
    # Curves, slices, calibration, images, false detections, missed objects: 12 images at most, all
    # of which have mistakes.
    assert len(sources) == 3 + 2 + 1 + 12 + 12 + len(largest_missed(matches))
    assert all(
        one.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for one in sources
    )
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["num_images"] == 12 and list(numbers["classes"])[0] == EVIL


def test_report_without_images_and_without_anything(tmp_path):
    data, detections = evil_scene()
    assert "jpeg" not in written(tmp_path / "a", data, detections)
    page = written(tmp_path / "b", data, [])
    assert (
        "0.000" in page
        and "there is no detection of any score" in page
        and "precision-recall curve of" not in page
    )
    nothing = DetectionData(("cat",), (example("a", [], []),))
    page = written(tmp_path / "c", nothing, [detection("a", [0, 0, 9, 9], 7.0)], read=read)
    assert "There are no objects" in page and "no scores in 0 to 1" in page
    assert "There are none." in page  # no object is missed


def test_many_classes_are_cut(tmp_path):
    names = tuple(f"class {k}" for k in range(40))
    boxes = [[20 * k, 0, 15, 15] for k in range(40)]
    # Class 7 is found as class 8 twice: these two are wrong most often.
    data = DetectionData(names, (example("a", boxes, range(40)),))
    found = [detection("a", boxes[7], 0.9, 9), detection("a", boxes[9], 0.9, 9)]
    # Below the operating point: classes without detections have no curve.
    found += [detection("a", boxes[k], 0.1, k + 1) for k in range(40)]
    page = written(tmp_path, data, found)
    matrix = re.search(r'<table class="matrix">(.*?)</table>', page, re.DOTALL)[1]
    assert matrix.count("<tr>") == 1 + 24 + 1
    assert "<th>class 7</th>" in matrix and "<th>class 8</th>" in matrix
    assert "Of 40 classes, the 24 with the most objects are drawn" in page


def test_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "taken").write_text("mine")
    message = (
        r"^'.*taken' cannot be written \(Not a directory\); make room there, or choose another"
    )
    detector = StubDetector([([], [], [])], validation_data().class_names)
    with pytest.raises(ValueError, match=message):
        evaluate(detector, validation_data(), plots=str(tmp_path / "taken"))
    assert detector.images == []
    with pytest.raises(ValueError, match=message):
        write_report(str(tmp_path / "taken"), *evil_scene())


def test_a_failing_report_leaves_no_half(tmp_path):
    data, detections = evil_scene()

    def fail(example):
        raise OSError("the image has vanished")

    with pytest.raises(OSError, match="vanished"):
        write_report(str(tmp_path), data, detections, read=fail)
    assert list(tmp_path.iterdir()) == []


def test_evaluate_and_score_write_it(tmp_path, capsys):
    data = validation_data()
    detector = StubDetector(
        [(one.relative_boxes(), [0.9] * len(one.labels), one.labels) for one in data.examples],
        data.class_names,
    )
    options = {"title": "stub", "score_threshold": dict.fromkeys(data.class_names, 0.8)}
    options["score_threshold"][data.class_names[1]] = 0.95
    metrics = evaluate(detector, data, plots=str(tmp_path / "plots"), **options)
    assert metrics["operating_point"]["classes"][data.class_names[1]]["true_positives"] == 0
    numbers = json.loads((tmp_path / "plots" / "report.json").read_text())
    assert {name: one["AP"] for name, one in numbers["classes"].items()} == metrics["voc12"]["AP"]
    page = (tmp_path / "plots" / "report.html").read_text()
    assert "<h1>stub</h1>" in page and "Most confident false detections" in page
    assert numbers["operating_point"] == metrics["operating_point"]
    assert "from a score of 0.8 to 0.95, by class, on: precision 100.00" in " ".join(page.split())
    one = data.examples[0]
    found = [
        {"image_id": one.image_id, "category_name": data.class_names[one.labels[0]]}
        | {"bbox": one.boxes[0].tolist(), "score": 0.9}
    ]
    write_json(found, str(tmp_path / "found.json"))
    words = ["--detections", str(tmp_path / "found.json"), "--data", "synthetic:shapes@val[:8]"]
    assert cli.main(["score", *words, "--plots", str(tmp_path / "scored")]) == 0
    assert capsys.readouterr().out.endswith(
        f"\nwrote {tmp_path}/scored/report.html; open it in a browser\n"
    )
    page = (tmp_path / "scored" / "report.html").read_text()
    assert "found.json on synthetic:shapes@val[:8]</h1>" in page
    assert "Most confident false detections" not in page


def test_scoring_with_a_report_imports_no_framework(tmp_path):
    source = """
import sys
from ssd_keras.data.sources import load_data
from ssd_keras.evaluation.report import write_report
write_report(sys.path.pop(), load_data("synthetic:shapes@val[:2]"), [])
sys.exit(str({"tensorflow", "keras", "jax"} & sys.modules.keys()))
"""
    command = f"import sys; sys.path.append({str(tmp_path)!r})\n{source}"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == "set()"
    assert (tmp_path / "report.html").exists()


@pytest.fixture(scope="module")
def browser():
    if chromium_path() is None:
        pytest.skip("NOT TESTED: Chromium is not installed")
    with open_page() as page:
        yield page


@pytest.mark.consumers
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_from_a_file(browser, tmp_path, width):
    data, detections = evil_scene()
    written(tmp_path, data, detections, title="my run", read=read)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", **metrics)
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.evaluate("document.title") == "my run"  # no script of a name has run
    loaded = browser.evaluate("[...document.images].map(one => one.complete && one.naturalWidth)")
    assert len(loaded) == 36 and min(loaded) > 100
    # Nothing is wider than the screen but tables, which scroll by themselves.
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.body.innerText").count(EVIL) >= 4
    columns = browser.evaluate(
        "getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length"
    )
    assert columns == (1 if width == 390 else 4)
