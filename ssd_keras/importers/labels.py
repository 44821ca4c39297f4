"""Text files of class names, one a line."""

import os


def read_labels(path: str) -> list[str]:
    """Reads class names.

    Args:
        path: a text file, one name a line.

    Returns:
        its lines without the white space around them; empty lines at the end are dropped.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no text, or holds nothing.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the labels {path!r} do not exist; pass a text file of names.")
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = [line.strip() for line in file.read().rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"the labels {path!r} are no text; expected one name a line.") from error
    if names == [""]:
        raise ValueError(f"the labels {path!r} are empty; expected one name a line.")
    return names
