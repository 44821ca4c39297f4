"""Detection in a data set by several processes, each in its part of the batches."""

import dataclasses
import io

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.engine.detector import Detector, detect_data
from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.evaluation.detection_table import DetectionTable


def detect_shared(
    detector: Detector, data: DetectionData, batch_size: int, group: ProcessGroup
) -> DetectionTable | None:
    """Returns all detections in process 0, as one process finds them; None in the others."""
    if group.size == 1:
        return detect_data(detector, data, batch_size)[0]
    first, last = images_of(group.index, group.size, len(data), batch_size)
    part = dataclasses.replace(data, examples=data.examples[first:last])
    if part.examples:
        own, _ = detect_data(detector, part, batch_size)
    else:
        own = DetectionTable.from_batches(part, [], detector.class_names)
    own = dataclasses.replace(own, image_index=own.image_index + first)
    parts = group.gather(_to_bytes(own))
    return _joined(parts) if group.writes else None


def images_of(index: int, size: int, num_images: int, batch_size: int) -> tuple[int, int]:
    """Returns where the images of a process begin and end: whole batches, in their order."""
    num_batches = -(-num_images // batch_size)
    first, last = (num_batches * i // size * batch_size for i in (index, index + 1))
    return first, min(last, num_images)


def _to_bytes(table: DetectionTable) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{each.name: getattr(table, each.name) for each in dataclasses.fields(table)})
    return file.getvalue()


def _joined(parts: list[bytes]) -> DetectionTable:
    tables = [np.load(io.BytesIO(part)) for part in parts]
    names = [each.name for each in dataclasses.fields(DetectionTable)]
    return DetectionTable(*(np.concatenate([table[name] for table in tables]) for name in names))
