"""The benchmarks run, with numbers of no meaning, and their table says what was measured.

No time is asserted. Peers of other projects stand aside here: each answers half a second.
"""

import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FIELDS = {"what", "peer", "ratio", "target", "met"}


class Here:
    """`pairs.Side` without a process: our own sides in this one, all others made up."""

    made = {}

    def __init__(self, module, name, cores=None, **options):
        key, self.side = (module, name, json.dumps(options)), None
        if name in ("ssd_keras", "pycocotools"):
            if key not in self.made:  # one for all numbers of cores
                self.made[key] = importlib.import_module(module).SIDES[name](**options)
            self.side = self.made[key]

    def ask(self, do, **options):
        if self.side is None:
            return {"seconds": 0.5, "core_seconds": 0.5}
        return getattr(self.side, do)(**options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def load(monkeypatch):
    """A function that imports a benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    Here.made.clear()
    for name in [path.stem for path in BENCHMARKS.glob("*.py")]:
        sys.modules.pop(name, None)


@pytest.fixture
def tiny(load, monkeypatch):
    """A function that runs a benchmark here; its result has been through JSON."""

    def run(name):
        module = load(name)
        monkeypatch.setattr(module, "Side", Here)
        result = json.loads(json.dumps(load("suite").rounded(module.benchmark(True))))
        for row in result["rows"]:
            assert set(row) == FIELDS and row["met"] in (True, False, None)
            values = row["ratio"]
            assert 0 < values["lower_quartile"] <= values["median"] <= values["upper_quartile"]
        return result

    return run


def test_table_by_hand(load):
    pairs = load("pairs")
    # 3 / 1, 4 / 2, 10 / 2 and 12 / 2: sorted 2, 3, 5, 6; quartiles a quarter and three on the way.
    values = pairs.ratios([3, 4, 10, 12], [1, 2, 2, 2])
    assert values == {"median": 4.0, "lower_quartile": 2.75, "upper_quartile": 5.25}
    rows = [
        pairs.row("speed", "them", values, "at least", 3),
        pairs.row("time", "them", values, "at most", 3),
        pairs.row("share", "limit", values, "report"),
    ]
    assert pairs.table(rows).splitlines()[2:] == [
        "| speed | them | 4 (2.75 to 5.25) | at least 3 | yes |",
        "| time | them | 4 (2.75 to 5.25) | at most 3 | **no** |",
        "| share | limit | 4 (2.75 to 5.25) | report |  |",
    ]


def test_sides_take_turns_in_both_directions(load):
    pairs, order = load("pairs"), []

    def ask(name, seconds):
        order.append(name)
        return {"seconds": seconds, "core_seconds": 2 * seconds, "calls": 4}

    asks = {"a": lambda: ask("a", 8), "b": lambda: ask("b", 4)}
    assert pairs.take_turns(asks, 2)[0] == {"a": [2, 2], "b": [1, 1]}
    assert "".join(order) == "ba" + "ab" + "ba"  # the first round warms up
    assert pairs.take_turns(asks, 1, clock="core_seconds")[0] == {"a": [4], "b": [2]}


def test_a_side_in_its_own_process_answers_and_its_end_is_told(load):
    pairs = load("pairs")
    with pairs.Side("evaluation", "pycocotools", cores=1, num_images=20) as side:
        first, second = (side.ask("evaluate") for _ in range(2))
    assert first["AP"] == second["AP"] > 0.05 and min(first["seconds"], second["seconds"]) > 0
    with (
        pytest.raises(SystemExit, match=r"pycocotools ended with status 1 when asked to fly, exp"),
        pairs.Side("evaluation", "pycocotools", num_images=20) as side,
    ):
        side.ask("fly")


@pytest.mark.slow
def test_input_pipeline(tiny, load, monkeypatch):
    monkeypatch.setattr(load("input_pipeline"), "NUM_IMAGES", 2)
    monkeypatch.setattr(load("input_pipeline"), "DETAIL", ["detailed"])
    result = tiny("input_pipeline")
    measured = result["seconds_an_image"]["detailed"]
    # Half a second for the one batch of four images.
    assert measured["torchvision"] == [0.125, 0.125]
    ratios = [0.125 / seconds for seconds in measured["ssd_keras"]]
    speed, decoding, cores = result["rows"]
    assert speed["ratio"]["median"] == pytest.approx(statistics.median(ratios), rel=1e-2)
    assert decoding["ratio"]["median"] > 1 and cores["ratio"]["median"] > 0


def test_target_encoding(tiny):
    result = tiny("target_encoding")
    assert [row["peer"] for row in result["rows"][:4]] == [
        "the clock", "the clock", "a core's arithmetic", "torchvision",
    ]  # fmt: skip
    milliseconds = 1e3 * statistics.median(result["seconds"]["20"]["batch"]) / 16
    assert result["rows"][1]["ratio"]["median"] == pytest.approx(milliseconds, rel=1e-3)
    assert 0 < result["share_of_peak"]["100"]["median"] < 1


def test_evaluation_gives_both_sides_the_same_precision(tiny):
    result = tiny("evaluation")
    assert result["AP"]["ssd_keras"] == pytest.approx(result["AP"]["pycocotools"], abs=1e-4)
    assert 0.05 < result["AP"]["ssd_keras"] < 0.9 and len(result["seconds"]["pycocotools"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_memory(tiny, load, monkeypatch):
    monkeypatch.setattr(load("input_pipeline"), "NUM_IMAGES", 2)
    result = tiny("memory")
    assert len(result["resident_bytes"]) == 8 and min(result["resident_bytes"]) > 1e8


def test_suite_writes_a_file_and_refuses_unknown_names(load, tmp_path, monkeypatch, capsys):
    suite = load("suite")
    monkeypatch.setattr(load("evaluation"), "Side", Here)
    suite.main(["evaluation", "--tiny", "--results", str(tmp_path), "--hardware", "here"])
    written = json.loads((tmp_path / "evaluation_here.json").read_text())
    assert written["command"] == "python benchmarks/suite.py evaluation --tiny"
    assert {"date", "hardware", "versions", "load_average_before", "rows"} < set(written)
    assert "| COCO metrics of 20 images: time | plain pycocotools |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        suite.main(["speed"])
    assert "'speed' is unknown; choose from input_pipeline" in capsys.readouterr().err


@pytest.mark.slow
def test_scaling(tiny, load, monkeypatch):
    scaling = load("scaling")
    monkeypatch.setitem(scaling.BASE, "size", 64)
    result = tiny("scaling")
    names = [(row["what"], row["peer"]) for row in result["rows"]]
    # 64 pixels: cells 8x8, 4x4, 2x2 and 1x1, 85 places, with 4 default boxes each, or 6.
    assert ("step, 510 default boxes: time", "340") in names
    assert ("step, 20 classes: time", "5") in names
    assert ("encoding of an image, 20 ground truths an image: time", "5") in names
    # Made-up workers: each answers half a second.
    assert result["rows"][-1]["ratio"]["median"] == 1 and "2 workers" in names[-1][0]


def test_reckoning_to_a_thousand_gpus_by_hand(load):
    paper = load("on_paper")
    preset = paper.Preset(weights=25_000_000, forward=0.4 * 989e12 / 3 / 1000)
    # An image takes 1 ms. 2 * 3 turns on 4 GPUs: 6 / 4 * 100 MB / 1 GB/s + 6 * 10 us = 150.06 ms
    assert paper.image_seconds(preset) == pytest.approx(1e-3)
    assert paper.reduce_seconds(preset, 4, 1e9) == pytest.approx(0.15006)
    # 32 ms of 182.06
    assert paper.efficiency(preset, 4, 1e9) == pytest.approx(0.175766, rel=1e-4)
    # 1000 images a second, 301 a core
    assert paper.cores_a_gpu(preset) == pytest.approx(3.32226, rel=1e-5)
    # Epoch 118.287 s / 8 = 14.785875 s; validation 5000 / 28896 + 5000 / 3000 + 12.3 =
    # 14.139701 s, of 28.925576 s
    assert paper.evaluation_share(preset, 8) == pytest.approx(0.488830, rel=1e-5)
    assert paper.table() in (BENCHMARKS / "scale.md").read_text()


def test_work_of_a_preset_is_counted(load):
    from ssd_keras.presets import from_preset

    paper = load("on_paper")
    name = "ssd192_small_shapes"
    counted = paper.count(from_preset(name))
    assert counted.weights == paper.PRESETS[name].weights
    assert counted.forward == pytest.approx(paper.PRESETS[name].forward, rel=1e-3)


@pytest.mark.slow
def test_the_benchmark_of_accelerators_runs_under_jax(tmp_path):
    file = tmp_path / "accelerator.json"
    command = [sys.executable, BENCHMARKS / "accelerator.py", "--tiny", "--json", file]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [set(row) for row in rows] == [FIELDS] * 6
    speeds = [row for row in rows if row["what"].endswith("images a second")]
    assert len(speeds) == 3 and all(row["ratio"]["median"] > 1 for row in speeds)
