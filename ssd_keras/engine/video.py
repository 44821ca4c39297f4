"""Detects objects in videos and cameras: writes annotated videos and detections.json."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.extras import import_extra
from ssd_keras.core.files import check_writable, replacing
from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import silence_stderr
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.engine.detector import Detector, detect_several
from ssd_keras.engine.evaluate import write_json
from ssd_keras.engine.predict import unique_stems

EXTENSIONS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
# Every build of OpenCV with FFmpeg can write it; H.264 is missing from the wheels.
CODEC = "mp4v"
USUAL_RATE = 25.0


@dataclass(frozen=True)
class VideoReport:
    """Counts and times of one video."""

    name: str  # of the annotated video, without ".mp4"
    num_frames: int  # frames read
    detection_ms: float  # milliseconds to detect in a frame, the median over the batches
    frames_per_second: float  # with reading, drawing and writing

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.num_frames} frames, {self.detection_ms:.1f} ms each to detect, "
            f"{self.frames_per_second:.1f} frames a second with reading, drawing and writing"
        )


def is_video(path: str) -> bool:
    """Whether a path ends like a video, or is the number of a camera."""
    return is_camera(path) or path.lower().endswith(EXTENSIONS)


def is_camera(path: str) -> bool:
    """Whether a path is the number of a camera, and no file of that name exists."""
    return path.isdecimal() and not os.path.exists(path)


def predict_videos(
    detector: Detector,
    sources: Sequence[str],
    output: str,
    *,
    score_threshold: float = 0.0,
    display_threshold: float | None = None,
    batch_size: int = 8,
    max_frames: int | None = None,
    progress: bool = False,
) -> tuple[list[dict], list[VideoReport], list[str]]:
    """Detects objects in every frame; writes annotated videos (MPEG-4) and `detections.json`.

    Returns COCO results with a frame number, a report of each video, and a line for each video
    that cannot be read. A camera runs until `max_frames` or Ctrl-C.
    """
    cv2 = import_opencv()
    check_writable(output, is_folder=True)
    detections: list[dict] = []
    reports: list[VideoReport] = []
    problems: list[str] = []
    files = {f"camera_{source}" if is_camera(source) else source: source for source in sources}
    taken = set(map(os.path.realpath, sources))
    for name, key in unique_stems(list(files)).items():
        source, target = files[key], os.path.join(output, f"{name}.mp4")
        if os.path.realpath(target) in taken:
            raise ValueError(f"output {target!r} is a video that is read; choose another folder.")
        try:
            video = Video(cv2, source)
        except ValueError as error:
            problems.append(f"{error}; dropped")
            continue
        size = 1 if video.is_camera else batch_size
        start = time.perf_counter()
        total = max_frames or video.num_frames or None
        bar = tqdm(total=total, desc=name, unit="frame", **bar_options(progress))
        with contextlib.closing(video), _video_writer(cv2, target, video) as write, bar:
            batches = _detect_batches(detector, islice(video, max_frames), size, bar)
            found, times = _draw_frames(
                batches, name, score_threshold, display_threshold, write, video.is_camera
            )
        rate = video.num_read / (time.perf_counter() - start)
        detections += found
        reports.append(VideoReport(name, video.num_read, statistics.median(times), rate))
        if max_frames is None and video.num_read < video.num_frames:
            problems.append(
                f"{source}: ended after {video.num_read} of {video.num_frames} frames; the file "
                "may be cut off"
            )
    if not reports:
        raise ValueError(f"none of {len(files)} videos could be read; first: {problems[0]}")
    write_json(detections, os.path.join(output, "detections.json"))
    return detections, reports, problems


def import_opencv() -> Any:
    """Imports OpenCV, which is optional."""
    return import_extra("cv2", "video", "reading videos and cameras")


class Video:
    """An open video or camera; iterating gives its frames once, RGB uint8 [H, W, 3]."""

    def __init__(self, cv2: Any, source: str) -> None:
        self.is_camera = is_camera(source)
        if not self.is_camera and not os.path.isfile(source):
            raise ValueError(
                f"{source}: the video does not exist; pass a file or a camera's number"
            )
        with silence_stderr():  # FFmpeg and camera drivers log at length
            self._capture = cv2.VideoCapture(int(source) if self.is_camera else source)
            is_read, self._first = self._capture.read()
        if not is_read:
            self.close()
            kind = "camera" if self.is_camera else "video"
            raise ValueError(f"{source}: no frame of this {kind} can be read; check that it plays")
        self._cv2 = cv2
        self.size = (self._first.shape[1], self._first.shape[0])
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1.0 <= rate <= 1000.0 else USUAL_RATE
        # As the file states it; 0 where it does not.
        self.num_frames = 0
        if not self.is_camera:
            self.num_frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.num_read = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        frame, is_read = self._first, True
        while is_read:
            self.num_read += 1
            yield self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB)
            with silence_stderr():
                is_read, frame = self._capture.read()

    def close(self) -> None:
        """Releases the file or the camera."""
        self._capture.release()


Batch = tuple[list[DetectionResult], float]  # results, milliseconds for each frame


def _detect_batches(
    detector: Detector, frames: Iterator[np.ndarray], batch_size: int, bar: tqdm
) -> Iterator[Batch]:
    while batch := list(islice(frames, batch_size)):
        start = time.perf_counter()
        results = list(detect_several(detector, batch, batch_size))
        milliseconds = 1000 * (time.perf_counter() - start) / len(batch)
        yield results, milliseconds
        bar.update(len(batch))
        bar.set_postfix_str(f"{milliseconds:.1f} ms to detect")


def _draw_frames(
    batches: Iterator[Batch],
    name: str,
    score_threshold: float,
    display_threshold: float | None,
    write: Callable[[np.ndarray], None],
    is_camera: bool,
) -> tuple[list[dict], list[float]]:
    """Writes every frame with its boxes; returns detections and milliseconds of the batches."""
    detections: list[dict] = []
    times: list[float] = []
    frame = 0
    try:
        for results, milliseconds in batches:
            times.append(milliseconds)
            for result in results:
                result = replace(result.above(score_threshold), image_id=name)
                detections += [entry | {"frame": frame} for entry in result.to_coco()]
                write(np.asarray(result.plot(display_threshold)))
                frame += 1
    except KeyboardInterrupt:  # Ctrl-C ends a camera
        if not is_camera or not times:
            raise
    return detections, times


@contextlib.contextmanager
def _video_writer(cv2: Any, path: str, video: Video) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that writes a frame; moves the file to `path` once it is whole."""
    count = 0

    def write(frame: np.ndarray) -> None:
        nonlocal count
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        count += 1

    with replacing(path) as beside:
        with silence_stderr():
            writer = cv2.VideoWriter(beside, cv2.VideoWriter_fourcc(*CODEC), video.rate, video.size)
        try:
            if not writer.isOpened():
                raise ValueError(
                    f"{path}: OpenCV cannot write a video there with its codec {CODEC}; expected a "
                    "folder to write to and a build with FFmpeg: pip install 'ssd_keras[video]'"
                )
            yield write
        finally:
            writer.release()
        # OpenCV reports no failure of writing, such as a full disk.
        with silence_stderr():
            written = cv2.VideoCapture(beside)
            kept = max(0, int(written.get(cv2.CAP_PROP_FRAME_COUNT)))
            written.release()
        if kept != count:
            raise OSError(
                f"{path}: {kept} of {count} frames could be written; expected all; make room on "
                "the disk"
            )
