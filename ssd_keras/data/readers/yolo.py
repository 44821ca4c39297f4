"""Reads YOLO folders: a text file for each image, a line for each object, relative boxes."""

import os
from dataclasses import replace

from ssd_keras.data.image_files import check_links
from ssd_keras.data.licences import licence_of_yaml
from ssd_keras.data.problems import Problem, problem_of
from ssd_keras.data.readers.assemble import AnnotatedImage, ReadOptions, assemble, to_pixels
from ssd_keras.data.readers.file_index import ARCHIVES, FileIndex, require_folder
from ssd_keras.data.readers.yolo_layout import YoloImage, split_images
from ssd_keras.data.readers.yolo_names import YoloSettings, read_settings
from ssd_keras.data.readers.yolo_rows import read_rows
from ssd_keras.data.records import DetectionData


def read_yolo(root: str, split: str, options: ReadOptions) -> DetectionData:
    """Reads one split of a YOLO folder; a line is class, x and y of the centre, width, height."""
    file = ""
    if os.path.isfile(root) and not root.lower().endswith(ARCHIVES):
        file, root = root, os.path.dirname(root)
    root = root or os.curdir
    require_folder(root, "YOLO's images and labels")
    index = FileIndex(root)
    settings = read_settings(file, index)
    images, problems = split_images(index, split, settings)

    def read(image: YoloImage) -> tuple[AnnotatedImage | None, list[Problem]]:
        return _read_image(root, image, settings)

    annotated, more = options.read_all(read, images, "reading labels")
    data = assemble(annotated, settings.names, problems + more, options)
    return replace(data, licence=licence_of_yaml(settings.content))


def _read_image(
    root: str, image: YoloImage, settings: YoloSettings
) -> tuple[AnnotatedImage | None, list[Problem]]:
    try:
        for file in filter(None, (image.path, image.labels)):
            # Folders of a data set may be links themselves; files that a list names may not.
            check_links(file, (root,) if image.is_listed else (root, os.path.dirname(file)))
        objects, problems = read_rows(image.labels, settings)
    except (OSError, ValueError) as error:
        return None, [problem_of(error, image.path)]
    annotated = AnnotatedImage(
        image.image_id, image.path, 0, 0, image.labels, objects, to_box=to_pixels
    )
    return annotated, problems
