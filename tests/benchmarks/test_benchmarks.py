"""The benchmarks run, with numbers of no meaning, and their table says what was measured.

No time is asserted. Sides of other projects do not run here: each answers half a second.
"""

import functools
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
    """`pairs.Side` without a process: our own sides run in this one, others answer a constant."""

    made = {}

    def __init__(self, module, name, cores=None, **options):
        key, self.side = (module, name, json.dumps(options)), None
        if name in ("ssd_keras", "pycocotools"):
            if key not in self.made:  # one for all numbers of cores
                self.made[key] = importlib.import_module(module).SIDES[name](**options)
            self.side = self.made[key]

    def __getattr__(self, method):
        return functools.partial(self.ask, method)

    def ask(self, method, **options):
        if self.side is None:
            return {"seconds": 0.5, "core_seconds": 0.5}
        return getattr(self.side, method)(**options)

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
        pairs.row("speed", "them", values, at_least=3),
        pairs.row("time", "them", values, at_most=3),
        pairs.row("share", "limit", values),
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


def test_a_side_in_its_own_process_answers_and_its_errors_are_raised(load):
    pairs = load("pairs")
    with pairs.Side("evaluation", "pycocotools", cores=1, num_images=20) as side:
        first, second = side.evaluate(), side.evaluate()
        assert first["AP"] == second["AP"] > 0.05 and min(first["seconds"], second["seconds"]) > 0
        with pytest.raises(AttributeError, match="'Pycocotools' object has no attribute 'fly'"):
            side.fly()
    with (
        pytest.raises(ModuleNotFoundError, match="No module named 'absent'"),
        pairs.Side("absent", "ssd_keras") as side,
    ):
        side.evaluate()


@pytest.mark.slow
def test_accuracy_of_a_recipe(load, tmp_path, monkeypatch):
    from ssd_keras.data import sources

    whole = sources.load_data
    monkeypatch.setattr(sources, "load_data", lambda name: whole(f"{name}[:16]"))
    monkeypatch.setattr("ssd_keras.engine.training_time.clock", None)  # replaced, and put back
    words = ["shapes", "synthetic:shapes", "--cpu-seconds", "90", "--output", str(tmp_path / "run")]
    sets = ["run.batch_size=4", "model.options.width=4", "model.options.image_size=[64, 64]"]
    load("accuracy").main([*words, *(word for value in sets for word in ("--set", value))])
    record = json.loads((tmp_path / "run.json").read_text())
    assert 0 < record["training_cpu_seconds"] < 180 and record["hardware"]["cpu"]
    best = max(row["val_AP"] for row in record["history"])
    assert record["coco"]["AP"] == pytest.approx(best, rel=1e-3) and record["data"] == (
        "synthetic:shapes"
    )


@pytest.mark.slow
def test_input_pipeline(tiny, load, monkeypatch):
    monkeypatch.setattr(load("input_pipeline"), "NUM_IMAGES", 2)
    monkeypatch.setattr(load("input_pipeline"), "DETAIL", ["detailed"])
    monkeypatch.setattr(load("input_pipeline"), "WORKERS", ())
    result = tiny("input_pipeline")
    measured = result["seconds_an_image"]["detailed"]
    assert measured["torchvision"] == [0.5, 0.5]
    ratios = [0.5 / seconds for seconds in measured["ssd_keras"]]
    speed, decoding, cores, *others = result["rows"]
    names = [row["what"].rpartition("time with ")[2] for row in others]
    assert names == ["scale jitter", "mosaic", "mixup", "mosaic and mixup"]
    assert speed["ratio"]["median"] == pytest.approx(statistics.median(ratios), rel=1e-2)
    assert decoding["ratio"]["median"] > 1 and cores["ratio"]["median"] > 0


@pytest.mark.slow
def test_input_pipeline_of_workers(tiny, load, monkeypatch):
    monkeypatch.setattr(load("input_pipeline"), "DETAIL", ["detailed"])
    monkeypatch.setattr(load("input_pipeline"), "WORKERS", (1,))
    last = tiny("input_pipeline")["rows"][-1]
    assert "1 data workers, 2 cores" in last["what"] and last["ratio"]["median"] > 0


def test_target_encoding(tiny):
    result = tiny("target_encoding")
    peers = [row["peer"] for row in result["rows"]]
    assert peers == ["the clock", "the clock", "torchvision"] * 2
    milliseconds = 1e3 * statistics.median(result["seconds"]["20"]["batch"]) / 16
    assert result["rows"][1]["ratio"]["median"] == pytest.approx(milliseconds, rel=1e-3)


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
    assert "invalid choice: 'speed' (choose from" in capsys.readouterr().err


@pytest.mark.slow
def test_scaling(tiny, load, monkeypatch):
    scaling = load("scaling")
    changes = list(scaling.CHANGES.items())
    monkeypatch.setattr(scaling, "CHANGES", dict(changes[:3]))
    monkeypatch.setitem(scaling.BASE, "size", 64)
    names = [(row["what"], row["peer"]) for row in tiny("scaling")["rows"]]
    assert names == [
        ("step, 4590 default boxes: time", "3060"),
        ("step, 7650 default boxes: time", "3060"),
        ("step, 20 classes: time", "5"),
    ]


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
