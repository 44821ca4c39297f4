"""Reads PASCAL VOC folders: Annotations/ID.xml, JPEGImages/ID.jpg, ImageSets/Main/SPLIT.txt."""

import os
from collections.abc import Sequence
from dataclasses import replace

from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.data.problems import NO_OBJECTS, Problem, ProblemKind
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    ReadOptions,
    are_relative,
    assemble,
    scaled_box,
)
from ssd_keras.data.readers.file_index import path_key, require_folder
from ssd_keras.data.readers.image_folder import without_objects
from ssd_keras.data.readers.voc_layout import XML, VocLayout, find_layout, read_list
from ssd_keras.data.readers.voc_xml import read_annotation
from ssd_keras.data.records import DetectionData
from ssd_keras.data.specs import NEGATIVES


def read_voc(root: str, split: str, options: ReadOptions) -> DetectionData:
    """Reads one split of a folder in the VOC format.

    VOC's pixels start at 1 and both corners belong to the box, so x = xmin - 1 and
    width = xmax - xmin + 1.
    """
    root = root or os.curdir
    require_folder(root, "Annotations and JPEGImages, as VOC has them,")
    takes_negatives = split.endswith(NEGATIVES)
    layout = find_layout(root, split.removesuffix(NEGATIVES))
    annotations, images = layout.annotations, layout.images
    problems = list(annotations.problems)
    if images.root != annotations.root:
        problems += images.problems

    def read(stem: str) -> tuple[AnnotatedImage | None, list[Problem]]:
        if stem in annotations.annotations:
            return _read_image(layout, stem)
        return read_unannotated(next(iter(images.find_images(stem, "")), stem))

    def read_unannotated(name: str) -> tuple[AnnotatedImage | None, list[Problem]]:
        return _read_unannotated(layout, name, takes_negatives)

    if layout.list_file is None:
        stems = sorted(annotations.annotations)
    else:
        stems = read_list(layout, layout.list_file, problems)
    annotated, more = options.read_all(read, stems, "reading annotations")
    problems += more
    if layout.list_file is None:
        names = _unannotated(layout, annotated)
        others, more = options.read_all(read_unannotated, names, "reading images")
        annotated = sorted([*annotated, *others], key=lambda image: str(image.image_id))
        problems += more
    annotated, notes = _read_shares(annotated, layout)
    problems += notes
    class_names = {item.class_name for image in annotated for item in image.objects}
    is_voc = class_names <= set(VOC_CLASSES) and layout.is_devkit
    return assemble(annotated, VOC_CLASSES if is_voc else None, problems, options)


def _read_image(layout: VocLayout, stem: str) -> tuple[AnnotatedImage | None, list[Problem]]:
    """Returns the image of an annotation file with its objects."""
    annotations, images = layout.annotations, layout.images
    path = os.path.join(annotations.root, annotations.annotations[stem])
    annotation, problems = read_annotation(path, layout.root)
    if annotation is None:
        return None, problems
    found = images.find_images(stem, annotation.filename) or [f"{stem}.jpg"]
    image, *others = (os.path.join(images.root, name) for name in found)
    problems += [
        Problem(ProblemKind.SHARED_ANNOTATION, other, image, image=other) for other in others
    ]
    folders = (layout.root, os.path.dirname(image))
    height, width, objects = annotation.height, annotation.width, annotation.objects
    size = annotation.bad_size
    return AnnotatedImage(
        stem, image, height, width, path, objects, folders, bad_size=size
    ), problems


def _read_shares(
    images: Sequence[AnnotatedImage], layout: VocLayout
) -> tuple[list[AnnotatedImage], list[Problem]]:
    """Returns the images, marked where all corners are shares of the sides, and a note of that."""
    boxes = [item.box for image in images for item in image.objects]
    # The corners as the files have them: `read_annotation` takes them for VOC's pixels.
    corners = [(x + 1, y + 1, x + width, y + height) for x, y, width, height in boxes]
    if not are_relative(corners):
        return list(images), []
    shares = iter([(left, top, x - left, y - top) for left, top, x, y in corners])
    marked = [
        replace(
            image,
            objects=[item._replace(box=next(shares)) for item in image.objects],
            to_box=scaled_box,
        )
        for image in images
    ]
    return marked, [Problem(ProblemKind.RELATIVE_BOXES, layout.annotations.root)]


def _unannotated(layout: VocLayout, annotated: Sequence[AnnotatedImage]) -> list[str]:
    """Returns the names of the images that no annotation file is of."""
    used = {image.image for image in annotated}
    stems = {path_key(stem) for stem in layout.annotations.annotations}
    return [
        name
        for name in layout.images.images
        if os.path.join(layout.images.root, name) not in used
        and path_key(os.path.splitext(name)[0]) not in stems
    ]


def _read_unannotated(
    layout: VocLayout, name: str, takes_negatives: bool
) -> tuple[AnnotatedImage | None, list[Problem]]:
    """Returns an image without an annotation file where such images are taken."""
    stem = os.path.splitext(name)[0]
    missing = os.path.join(layout.annotations.root, f"{stem}{XML}")
    path = os.path.join(layout.images.root, name)
    if not takes_negatives or not os.path.lexists(path):
        return None, [Problem(ProblemKind.MISSING_ANNOTATION, missing)]
    note = Problem(ProblemKind.MISSING_ANNOTATION, missing, action=NO_OBJECTS)
    return without_objects(stem, path, layout.root), [note]
