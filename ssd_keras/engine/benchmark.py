"""Compares artefacts of detectors: size, time to load, time of an image, accuracy."""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm.auto import tqdm

from ssd_keras.core.hardware import hardware
from ssd_keras.core.terminal import shows_progress

# With more, the times say as much of other processes as of the artefact.
MAX_OTHERS_SHARE = 0.05
SHARED = ("accelerators", "versions", "class_names", "num_images", "problems")  # of all rows
NOTES = (
    "p50, p95: half of the {runs} runs took no longer, 95 % took no longer. A run is one image, "
    "from decoded uint8 pixels of any size to detections, resizing included; {images}.",
    "load: from the path to the first detections, without the start of Python. MB: 10^6 bytes of "
    "the file or folder; of a RUN those of model.keras, which also holds the optimizer's state.",
)


def measure_in_fresh_process(**request: Any) -> dict[str, Any]:
    """Calls `measure_artefact`, where neither caches nor threads are left of others."""
    process = subprocess.run(
        [sys.executable, "-m", "ssd_keras.engine.benchmark_process"],
        input=json.dumps(request),
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode < 0:
        raise ValueError(
            f"{request['path']!r}: its measurement ended with signal {-process.returncode}; is "
            "there too little memory?"
        )
    lines = process.stdout.splitlines()
    if process.returncode or not lines:
        reason = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"{request['path']!r} cannot be measured: {reason[:200]}")
    return json.loads(lines[-1])


def benchmark(
    paths: Sequence[str],
    threads: Sequence[int] = (2,),
    runs: int = 100,
    data: Sequence[str] = (),
    *,
    progress: bool | None = None,
    measure: Callable[..., dict[str, Any]] = measure_in_fresh_process,
) -> dict[str, Any]:
    """Measures artefacts, each with each number of threads; returns the content of a JSON file.

    An artefact is what `load_detector` takes. With `data`, COCO's AP and AP50 are measured once
    for each artefact, and all must have the same classes. Where the threads of an artefact cannot
    be set, it is measured once.
    """
    rows: list[dict[str, Any]] = []
    with tqdm(
        total=len(paths) * len(threads),
        desc="measuring",
        unit="row",
        disable=not shows_progress(progress),
    ) as bar:
        for path in paths:
            accuracy: dict[str, Any] = {}
            for count in threads:
                asked = [] if accuracy else list(data)
                row = measure(path=path, threads=count, runs=runs, data=asked)
                if "error" in row:
                    raise ValueError(row["error"])
                accuracy = accuracy or {key: row[key] for key in ("AP", "AP50") if key in row}
                rows.append(row | accuracy)
                _check_classes(rows, data)
                bar.update()
                if row["threads"] is None:
                    break
    return _result(rows, runs, data)


def _check_classes(rows: Sequence[Mapping[str, Any]], data: Sequence[str]) -> None:
    first, last = rows[0], rows[-1]
    if data and last["class_names"] != first["class_names"]:
        names, expected = (", ".join(row["class_names"]) for row in (last, first))
        raise ValueError(
            f"{last['path']!r} has the classes {names}; expected {expected}, as {first['path']!r}; "
            "their AP cannot be compared: leave --data out."
        )


def _result(rows: Sequence[dict[str, Any]], runs: int, data: Sequence[str]) -> dict[str, Any]:
    first = rows[0]
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row["versions"]
    kept = [{key: value for key, value in row.items() if key not in SHARED} for row in rows]
    result = {
        "data": list(data),
        "runs": runs,
        "hardware": hardware() | {"accelerators": first["accelerators"]},
        "versions": versions,
        "date": datetime.date.today().isoformat(),
        "artefacts": kept,
    }
    shared = {key: first[key] for key in ("num_images", "problems") if key in first}
    return result | shared


def benchmark_table(result: Mapping[str, Any]) -> str:
    """Returns the rows as a table in Markdown, and below it what they mean and the hardware."""
    titles = ["artefact", "format", "threads", "MB", "load s", "p50 ms", "p95 ms", "images/s"]
    has_accuracy = bool(result["data"])
    titles += ["AP", "AP50"] * has_accuracy
    rows = [titles, ["---"] * len(titles)]
    for row in result["artefacts"]:
        cells = [row["path"], row["format"], str(row["threads"] or "all (cannot be set)")]
        cells += [f"{row['bytes'] / 1e6:.2f}", f"{row['load_seconds']:.1f}"]
        cells += [f"{row[f'milliseconds_{name}']:.1f}" for name in ("p50", "p95")]
        cells.append(f"{row['images_per_second']:.1f}")
        cells += [f"{row[name]:.3f}" for name in ("AP", "AP50") if has_accuracy]
        rows.append(cells)
    images = f"images of {' '.join(result['data'])}" if has_accuracy else "generated images"
    notes = [note.format(runs=result["runs"], images=images) for note in NOTES]
    table = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([*table, "", *notes, hardware_line(result)])


def hardware_line(result: Mapping[str, Any]) -> str:
    """Returns processor, accelerators and versions."""
    machine = result["hardware"]
    names = [machine["cpu"], f"{machine['cores']} cores", *machine["accelerators"]]
    versions = {"Python": machine["python"], **result["versions"]}
    return f"{', '.join(names)}; {', '.join(f'{name} {x}' for name, x in versions.items())}"


def busy_warning(result: Mapping[str, Any]) -> str:
    """Returns a line where other processes took part of the cores, else ""."""
    share = max(row["others_share"] for row in result["artefacts"])
    if share <= MAX_OTHERS_SHARE:
        return ""
    return f"other processes used up to {share:.0%} of the cores: the times are too long; run again"
