"""Class names and splits of YOLO folders, from data.yaml, obj.data or a list of names."""

import os
import reprlib
from collections import Counter
from typing import Any, NamedTuple

import yaml

from ssd_keras.core.text import clean_name, is_plain_text, one_line, read_text
from ssd_keras.data.readers.file_index import FileIndex, endings

YAML_EXTENSIONS = (".yaml", ".yml")
YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
DARKNET_FILE, DARKNET_EXTENSION = "obj.data", ".data"
# As labelImg and Label Studio, CVAT, and Roboflow write them.
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels")
MAX_SHOWN = 60  # characters of a value that a message quotes
LIST_EXTENSIONS = (".txt", ".names", ".labels")


class YoloSettings(NamedTuple):
    """Class names by label, what else the file holds, and numbers of a pose row (0: none)."""

    names: list[str]
    content: dict[str, Any]
    pose_length: int = 0


def read_settings(file: str, index: FileIndex) -> YoloSettings:
    """Returns the settings of a file, or where there is none those that a YOLO folder holds."""
    path = file or _settings_file(index)
    if path is None:
        raise FileNotFoundError(
            f"no class names in {index.root}; expected data.yaml with 'names', or classes.txt with "
            "a name a line"
        )
    if path.endswith(LIST_EXTENSIONS):
        return YoloSettings(_read_list(path), {})
    content = _read_darknet(path) if path.endswith(DARKNET_EXTENSION) else _load_yaml(path)
    value = content.get("names") if isinstance(content, dict) else None
    if not value:
        raise ValueError(
            f"{path} has no 'names'; expected a list, or names by number from 0 (0: cat)"
        )
    if isinstance(value, str):  # a file
        lists = filter(None, map(index.find, endings(value)))
        path = next(lists, path)
        value = _read_list(path) if path.endswith(LIST_EXTENSIONS) else value
    elif isinstance(value, dict):
        value = _by_number(value)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        # A bounded text: aliases can make a list of a few lines endless.
        shown = one_line(reprlib.repr(content["names"]), MAX_SHOWN)
        raise ValueError(
            f"{path} has no 'names' of YOLO's form ({shown}); expected a list, or names by number "
            "from 0 (0: cat)"
        )
    return YoloSettings(_checked(value, path), content, _pose_length(content))


def _settings_file(index: FileIndex) -> str | None:
    """Returns the path of the settings in a folder, or the only list of names below it."""
    lists = (*NAME_LISTS, f"labels/{NAME_LISTS[0]}")
    found = next(filter(None, map(index.find, (*YAML_FILES, DARKNET_FILE, *lists))), None)
    if found:
        return found
    below = [name for name in index.names if os.path.basename(name).lower() in NAME_LISTS]
    below = below or [name for name in index.names if _is_yaml(name)]
    paths = [os.path.join(index.root, name) for name in below]
    contents = {tuple(_read_list(path)) if not _is_yaml(path) else (path,) for path in paths}
    if len(contents) > 1:
        raise ValueError(
            f"{below[0]} and {below[1]} below {index.root} have different class names; expected "
            "data.yaml or classes.txt in the folder itself"
        )
    return paths[0] if paths else None


def _is_yaml(name: str) -> bool:
    return os.sep not in name and name.lower().endswith(YAML_EXTENSIONS)


def _read_list(path: str) -> list[str]:
    """Returns the names of a text file, one a line."""
    text = read_text(path).rstrip()
    if not text:
        raise ValueError(f"the labels {path!r} are empty; expected one name a line.")
    return _checked(text.splitlines(), path)


def _read_darknet(path: str) -> dict[str, str]:
    """Returns the values of a file of lines such as "names = data/obj.names"."""
    pairs = [line.partition("=") for line in read_text(path).splitlines() if "=" in line]
    return {key.strip(): value.strip() for key, _, value in pairs}


def _load_yaml(path: str) -> Any:
    """Returns the content of a YAML file, every scalar as the text that it is written with."""

    class Loader(yaml.BaseLoader):
        def construct_object(self, node: Any, deep: bool = False) -> Any:
            if "python/" in node.tag:
                raise yaml.YAMLError(f"the tag {node.tag!r} stands for an object of Python")
            return super().construct_object(node, deep)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            key, count = next(iter(Counter(keys).most_common(1)), ("", 0))
            if count > 1:
                raise ValueError(f"{path} has the key '{key}' twice; expected it once")
            return super().construct_mapping(node, deep)

    text = read_text(path)
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML ({' '.join(str(error).split())[:120]})") from error


def _by_number(names: dict[str, Any]) -> list[Any] | None:
    """Returns the names by number from 0, or None where the keys are not those numbers."""
    numbers = {int(key): name for key, name in names.items() if key.isdecimal()}
    if sorted(numbers) != list(range(len(names))):
        return None
    return [numbers[number] for number in range(len(names))]


def _checked(texts: list[str], path: str) -> list[str]:
    """Returns class names without blanks at the ends; raises an error where one cannot be used."""
    names = [clean_name(text) for text in texts]
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if not name:
            raise ValueError(
                f"the labels {path!r} have an empty line or name (number {number}, from 0); "
                "expected one name for each number"
            )
        if not is_plain_text(name):
            raise ValueError(
                f"the labels {path!r} have control characters in name {number}; expected one line "
                "of text"
            )
        if first.setdefault(name, number) != number:
            raise ValueError(
                f"{path} has the class name '{name}' twice, as number {first[name]} and {number}; "
                "expected each name once"
            )
    return names


def _pose_length(content: dict[str, Any]) -> int:
    """Returns how many numbers follow the class of a pose row, of a data set of key points."""
    shape = content.get("kpt_shape")
    if not isinstance(shape, list) or len(shape) != 2:
        return 0
    if not all(isinstance(text, str) and text.isdecimal() for text in shape):
        return 0
    return 4 + int(shape[0]) * int(shape[1])
