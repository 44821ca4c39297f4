"""Finds images that are read otherwise than they look: their format, transparency, grey levels."""

import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from tqdm.contrib.concurrent import thread_map

from ssd_keras.core.image_formats import FORMATS, IMAGE_EXTENSIONS
from ssd_keras.core.images import (
    DEEP,
    HALF_OPAQUE,
    MAX_DARK_BITS,
    ImageHeader,
    load_stored,
    open_image,
    see_through_share,
    used_bits,
)
from ssd_keras.core.progress import bar_options
from ssd_keras.data.image_files import open_source
from ssd_keras.data.image_sources import original_of
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind

MIN_SEE_THROUGH = 0.05  # of the pixels
SPOTTED = 32.0  # standard deviation of grey levels beneath
BLACK, WHITE = 48, 207  # grey levels up to and from which a colour is called so

Row = tuple[FindingKind, str, str]  # kind, detail, group


def image_findings(splits: Sequence[Split], progress: bool = False) -> list[Finding]:
    """Returns what is unusual about each image; broken ones are another finding."""
    options = {"max_workers": 8, "desc": "reading image headers", "leave": False}
    examples = [example for split in splits for example in split.data.examples]
    found = thread_map(_findings_of, examples, **bar_options(progress), **options)
    return [finding for of_image in found for finding in of_image]


def _findings_of(example: Example) -> list[Finding]:
    original = original_of(example.image)
    found = []
    try:
        with open_source(original) as file:
            image, header = open_image(file, sys.maxsize)
            if isinstance(original, str) and is_misnamed(original, header.format):
                group = f"{header.format} named {os.path.splitext(original)[1]}"
                found.append((FindingKind.MISNAMED, f"is {header.format}", group))
            if image.has_transparency_data or header.bit_depth >= DEEP:
                image = load_stored(image, header)
                found += [*_dark_levels(image, header), *_see_through(image)]
    except (OSError, ValueError):
        pass  # `broken_image_findings` says so
    return [Finding(kind, example.location, text, group=group) for kind, text, group in found]


def _dark_levels(image: Image.Image, header: ImageHeader) -> Iterator[Row]:
    bits = used_bits(image, header)
    if header.bit_depth >= DEEP and bits <= MAX_DARK_BITS:
        text = f"no grey level above {2**bits - 1 >> 8} of 255 is seen"
        yield FindingKind.DARK, text, f"{bits} of {header.bit_depth} bits used"


def _see_through(image: Image.Image) -> Iterator[Row]:
    share = see_through_share(image)
    if share >= MIN_SEE_THROUGH:
        yield (
            FindingKind.SEE_THROUGH,
            f"{share:.0%} of its pixels",
            f"{hidden_color(image)} beneath",
        )


def is_misnamed(path: str, format_name: str) -> bool:
    """Whether a file has the extension of another image format."""
    extension = os.path.splitext(path)[1].lower()
    own = next(row.extensions for row in FORMATS if row.name == format_name)
    return extension in IMAGE_EXTENSIONS and extension not in own


def hidden_color(image: Image.Image) -> str:
    """Returns the colour that see-through pixels have without their transparency."""
    pixels = np.asarray(image.convert("RGBA"), np.float32)
    colors = pixels[pixels[..., 3] < HALF_OPAQUE][:, :3]
    if colors.std(axis=0).max() > SPOTTED:
        return "several colours"
    mean = colors.mean(axis=0)
    if mean.max() <= BLACK:
        return "black"
    if mean.min() >= WHITE:
        return "white"
    return "grey" if np.ptp(mean) < SPOTTED else "a colour"
