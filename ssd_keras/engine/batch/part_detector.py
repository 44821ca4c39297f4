"""Detects objects in one part of the images of batch prediction; runs in a worker."""

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from ssd_keras.core.images import MAX_DARK_BITS, decode_image_file
from ssd_keras.data.image_files import image_error
from ssd_keras.data.problems import Problem, ProblemKind, problem_of
from ssd_keras.engine.batch.model_digest import check_model
from ssd_keras.engine.batch.output import Part
from ssd_keras.engine.batch.rows import encode_rows, to_row
from ssd_keras.engine.batch.sources import shown, stored_image
from ssd_keras.engine.detector import detect_several, load_detector
from ssd_keras.engine.tiles import tiled

READING_THREADS = 4  # an object storage answers several requests at once


@dataclasses.dataclass
class _Image:
    """An image that was read: its pixels, or what is wrong with it."""

    location: str
    image_id: str | None = None
    pixels: np.ndarray | None = None
    problem: Problem | None = None


class PartDetector:
    """A detector that returns the `Part` of a list of images."""

    def __init__(
        self,
        model: str,
        model_sha256: str,
        *,
        format: str,
        score_threshold: float,
        batch_size: int,
        max_pixels: int,
        num_threads: int,
        tiles: Sequence[int] | None = None,
        tile_overlap: float | None = None,
    ) -> None:
        check_model(model, model_sha256)
        whole = load_detector(model, num_threads=num_threads)
        self.detector = tiled(whole, tiles, tile_overlap or 0.0, batch_size)
        self.format, self.batch_size, self.max_pixels = format, batch_size, max_pixels
        self.score_threshold = score_threshold
        self.num_threads = max(READING_THREADS, num_threads)

    def __call__(self, locations: Sequence[str]) -> Part:
        rows: list[dict] = []
        problems: list[Problem] = []
        num_detections = 0
        for images in self._batches(locations):
            found = detect_several(
                self.detector,
                [image.pixels for image in images if image.pixels is not None],
                self.batch_size,
            )
            for image in images:
                problem = image.problem
                result = None
                if image.pixels is not None:
                    result = next(found).above(self.score_threshold)
                    num_detections += len(result)
                if problem is not None:
                    problems.append(problem)
                sentence = None if problem is None else problem.sentence
                rows.append(to_row(shown(image.location), image.image_id, result, sentence))
        num_invalid = sum(not row["image_is_valid"] for row in rows)
        content = encode_rows(rows, self.format)
        return Part(content, len(rows), num_invalid, num_detections, problems)

    def _batches(self, locations: Sequence[str]) -> Iterator[list[_Image]]:
        """Yields images in order, in each batch as many that can be read as the model takes."""
        batch: list[_Image] = []
        for image in self._images(locations):
            batch.append(image)
            if sum(one.pixels is not None for one in batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _images(self, locations: Sequence[str]) -> Iterator[_Image]:
        """Yields images in order; the next batch is read while the model works on one."""
        ahead: deque[Future[_Image]] = deque()
        with ThreadPoolExecutor(self.num_threads) as threads:
            for location in locations:
                ahead.append(threads.submit(self._read, location))
                if len(ahead) > self.batch_size:  # more would only fill the memory
                    yield ahead.popleft().result()
            for future in ahead:
                yield future.result()

    def _read(self, location: str) -> _Image:
        image = _Image(location)
        try:
            stored = stored_image(location)
            image.image_id = stored.image_id
            decoded = decode_image_file(stored.source, self.max_pixels)
        except OSError as error:
            image.problem = problem_of(error, location)
        except ValueError as error:
            image.problem = problem_of(image_error(error), location)
        else:
            image.pixels = decoded.pixels
            if decoded.used_bits <= MAX_DARK_BITS:
                image.problem = Problem(ProblemKind.DARK, location, str(decoded.used_bits))
        return image
