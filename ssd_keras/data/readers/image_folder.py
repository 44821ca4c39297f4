"""Reads a folder of images without objects."""

import os

from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.readers.assemble import AnnotatedImage, ReadOptions, assemble
from ssd_keras.data.readers.file_index import FileIndex, require_folder
from ssd_keras.data.records import DetectionData


def read_image_folder(root: str, rest: str, options: ReadOptions) -> DetectionData:
    """Reads the images below a folder; none of them has an object, and there are no classes."""
    if rest:
        raise ValueError(f"images:{root} has no part '{rest}'; expected images:DIR")
    require_folder(root, "images")
    index = FileIndex(root)
    names = [name for name in index.names if name.lower().endswith(IMAGE_EXTENSIONS)]
    if not names:
        raise ValueError(
            f"no image below {root} ({len(index.names)} other files); expected files such as a.jpg"
        )
    images = [
        without_objects(os.path.splitext(name)[0], os.path.join(root, name), root) for name in names
    ]
    links = [Problem(ProblemKind.SYMBOLIC_LINK, path, root) for path in index.linked_folders]
    return assemble(images, [], links, options)


def without_objects(image_id: str, path: str, root: str) -> AnnotatedImage:
    """Returns an image that has no objects."""
    return AnnotatedImage(image_id, path, 0, 0, path, [], (root, os.path.dirname(path)))
