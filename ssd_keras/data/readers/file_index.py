"""The files below a folder, found by the names that annotations have for them."""

import functools
import ntpath
import os
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from ssd_keras.core.files import lies_within
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import composed
from ssd_keras.data.image_files import leaves_folder
from ssd_keras.data.problems import Problem, ProblemKind

# Folders of thumbnails, of copies and of file attributes that systems put beside images.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir")
# Of files that lie beside images and are none.
TEXT_EXTENSIONS = (".txt", ".xml", ".json", ".csv", ".yaml", ".yml", ".md", ".py")
OTHER_EXTENSIONS = (*TEXT_EXTENSIONS, ".cache", ".npy")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
HIDDEN, FILE_ATTRIBUTES = ".", "._"  # what names of such folders, and of such files, begin with
# Names of one split: of keys in data.yaml, of lists and of folders.
SPLIT_NAMES = (
    ("train", "training"),
    ("val", "valid", "validation"),
    ("test", "testing"),
)


class FileIndex:
    """The files below a folder: each folder is listed once, and none that a link leads out to."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._entries: dict[str, dict[str, list[str]]] = {}

    @functools.cached_property
    def names(self) -> list[str]:
        """The names of all files, relative to the folder, sorted; links to files are among them."""
        return self._walked[0]

    @functools.cached_property
    def images(self) -> list[str]:
        """The names of all files with an extension of images."""
        return [name for name in self.names if name.lower().endswith(IMAGE_EXTENSIONS)]

    @functools.cached_property
    def problems(self) -> list[Problem]:
        """A problem for each link to a folder outside, whose files are not listed."""
        return [Problem(ProblemKind.SYMBOLIC_LINK, x, self.root) for x in self._walked[1]]

    @functools.cached_property
    def _walked(self) -> tuple[list[str], list[str]]:
        names: list[str] = []
        links: list[str] = []
        folders = [""] if os.path.isdir(self.root or ".") else []
        while folders:
            folder = folders.pop()
            with os.scandir(os.path.join(self.root, folder) or ".") as entries:
                for entry in entries:
                    name = os.path.join(folder, entry.name)
                    if not entry.is_dir():
                        if not entry.name.startswith(FILE_ATTRIBUTES):
                            names.append(name)
                    elif entry.name.startswith(HIDDEN) or entry.name in SYSTEM_FOLDERS:
                        continue
                    elif not entry.is_symlink():
                        folders.append(name)
                    # A linked folder inside is listed where it lies.
                    elif not lies_within(entry.path, self.root):
                        links.append(entry.path)
        return sorted(names), sorted(links)

    def find(self, name: str) -> str | None:
        """Returns the path of a file by its relative name, or None where there is none below.

        A name that no file has exactly stands for the file of the same composed letters (NFC),
        else for the only one that differs in capitals or in escapes of URLs (%20); "/" may be a
        backslash. An absolute path below the folder counts too. The path found may be a link.
        """
        path = self._path(name)
        return path if path is not None and not os.path.isdir(path) else None

    def find_folder(self, name: str) -> str | None:
        """Returns the path of a folder by its relative name, as `find` that of a file."""
        path = self._path(name)
        return path if path is not None and os.path.isdir(path) else None

    def _path(self, name: str) -> str | None:
        path = self._path_below(name)
        return self._path_below(name.replace("\\", "/")) if path is None and "\\" in name else path

    def _path_below(self, name: str) -> str | None:
        if os.path.isabs(name) and lies_within(name, self.root):
            name = os.path.relpath(name, self.root)
        if leaves_folder(name):
            return None
        name = os.path.normpath(name)
        path = self.root if name == os.curdir else os.path.join(self.root, name)
        return path if os.path.lexists(path) else self._walk(self.root, name.split(os.sep))

    def _walk(self, folder: str, parts: Sequence[str]) -> str | None:
        """Returns the path below a folder that parts of a name stand for.

        Where the folder has a part in two Unicode forms, the one that leads to a path counts.
        """
        if not parts:
            return folder
        below = (os.path.join(folder, name) for name in self._entries_named(folder, parts[0]))
        found = (self._walk(path, parts[1:]) for path in below)
        return next((path for path in found if path is not None), None)

    def _entries_named(self, folder: str, name: str) -> list[str]:
        """Returns the entries of a folder that a name may stand for."""
        if folder not in self._entries:
            self._entries[folder] = self._list(folder)
        known = self._entries[folder].get(path_key(name), [])
        equal = [x for x in known if composed(x) == composed(name)]
        return equal or (known if len(known) == 1 else [])

    def _list(self, folder: str) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        if os.path.isdir(folder or ".") and lies_within(folder, self.root):
            for name in sorted(os.listdir(folder or ".")):
                names.setdefault(path_key(name), []).append(name)
        return names


def path_key(name: str) -> str:
    """Returns what names share that differ in Unicode form, capitals and escapes of URLs alone."""
    return composed(composed(unquote(name)).casefold())


def endings(path: str) -> Iterator[str]:
    """Yields a path of any computer without its first part, without the first two, and so on."""
    path = ntpath.splitdrive(path.replace("\\", "/"))[1]
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for first in range(len(parts)):
        yield "/".join(parts[first:])


def other_path(location: str, name: str, path: str, folder: str) -> Problem:
    """Returns the note that a name stands for a file under another path."""
    detail = f"'{name}', but {os.path.relpath(path, folder)}"
    return Problem(ProblemKind.OTHER_PATH, location, detail)


def names_of_split(split: str) -> list[str]:
    """Returns a split's name and others of the same meaning."""
    equal = next((names for names in SPLIT_NAMES if split in names), ())
    return [split, *(name for name in equal if name != split)]


def require_folder(path: str, contents: str) -> None:
    """Raises an error of one line where a path is no folder."""
    if os.path.isdir(path or "."):
        return
    if os.path.isfile(path) and path.lower().endswith(ARCHIVES):
        raise ValueError(f"{path} is an archive; unpack it, and name the folder")
    what = "is a file" if os.path.lexists(path) else "does not exist"
    raise FileNotFoundError(f"the folder {path} {what}; expected {contents} there")
