"""Reads a folder of images without objects."""

import os

from ssd_keras.data.readers.assemble import AnnotatedImage, ReadOptions, assemble
from ssd_keras.data.readers.file_index import FileIndex, require_folder
from ssd_keras.data.records import DetectionData


def read_image_folder(root: str, rest: str, options: ReadOptions) -> DetectionData:
    """Reads the images below a folder; none of them has an object, and there are no classes."""
    if rest:
        raise ValueError(f"images:{root} has no part '{rest}'; expected images:DIR")
    require_folder(root, "images")
    index = FileIndex(root)
    if not index.images:
        raise ValueError(
            f"no image below {root} ({len(index.names)} other files); expected files such as a.jpg"
        )
    images = [
        without_objects(os.path.splitext(name)[0], os.path.join(root, name), root)
        for name in index.images
    ]
    return assemble(images, [], index.problems, options)


def without_objects(image_id: str, path: str, root: str) -> AnnotatedImage:
    """Returns an image that has no objects."""
    return AnnotatedImage(image_id, path, 0, 0, path, [], (root, os.path.dirname(path)))
