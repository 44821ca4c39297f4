"""Loads the JSON of COCO annotations, and names what other JSON files are."""

import gzip
import json
import os
from typing import Any

from ssd_keras.core.text import read_text

Record = dict[str, Any]
SECTIONS = ("images", "annotations", "categories")
GZIP_MARK = b"\x1f\x8b"
MAX_BYTES = 1 << 32  # of a compressed file's content
REMEDY = "export the data as COCO from that tool, and read that file"


def load_coco_json(path: str) -> dict[str, list[Record]]:
    """Returns the content of a COCO file, whose three sections are lists of records."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no annotation file {path}; expected COCO's JSON there")
    try:
        content = json.loads(_read(path))
    except UnicodeDecodeError:
        read_text(path)  # names the line
        raise ValueError(f"{path} is not text; expected COCO annotations") from None
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); expected COCO annotations") from error
    for section in SECTIONS:
        records = content.get(section) if isinstance(content, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            other = _other_format(content)
            raise ValueError(
                f"{path} {other}; {REMEDY}"
                if other
                else f"{path} has no list of records '{section}'; expected COCO annotations with "
                f"{', '.join(SECTIONS)}"
            )
    _check_boxes(content["annotations"], path)
    return content


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        if file.read(2) != GZIP_MARK:
            file.seek(0)
            return file.read()
    with gzip.open(path) as unpacked:
        content = unpacked.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"its content is larger than {MAX_BYTES} bytes")
    return content


def _check_boxes(annotations: list[Record], path: str) -> None:
    """Refuses files whose annotations are no boxes: one line instead of one for each of them."""
    if not annotations or any("bbox" in record for record in annotations):
        return
    keys = annotations[0].keys()
    contents = {"caption": "captions", "segments_info": "panoptic segments"}
    found = next((name for key, name in contents.items() if key in keys), "no bbox at all")
    raise ValueError(
        f"the annotations of {path} are {found}; expected boxes, such as those of COCO's "
        "instances_*.json"
        if found != "no bbox at all"
        else f"no annotation of {path} has a bbox; expected x, y, width, height in pixels"
    )


def _other_format(content: Any) -> str:
    """Returns what a JSON file of another tool is, or an empty text."""
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict):
        if {"image_id", "score"} <= first.keys():
            return "holds detections, not annotations"
        if "annotations" in first and {"image", "imagefilename"} & first.keys():
            return "is a file of CreateML, not of COCO"
        if {"data", "completions", "result"} & first.keys() or "annotations" in first:
            return "is a file of Label Studio, not of COCO"
    if isinstance(content, dict):
        if "shapes" in content:
            return "is a file of labelme, not of COCO"
        values = list(content.values())[:1]
        has_regions = any(isinstance(value, dict) and "regions" in value for value in values)
        if has_regions or any(str(key).startswith("_via") for key in content):
            return "is a file of VIA, not of COCO"
    return ""
