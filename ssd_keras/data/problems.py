"""What is wrong with data."""

from dataclasses import dataclass

from ssd_keras.core.text import one_line


@dataclass(frozen=True)
class Problem:
    """Something wrong in a data set, told in one line.

    Args:
        file: the image, annotation or split file that is wrong.
        item: the object in that file, such as "object 3 (RBC)"; empty for the whole file.
        what: what is wrong and what was expected.
        mended: what was done about it, default "left out".
    """

    file: str
    item: str
    what: str
    mended: str = "left out"

    def __post_init__(self) -> None:
        for name in ("item", "what"):  # they quote what the file says
            object.__setattr__(self, name, one_line(getattr(self, name)))

    def __str__(self) -> str:
        # Names in files may hold line breaks.
        return " ".join(f"{self.place}: {self.what}; {self.mended}".splitlines())

    @property
    def place(self) -> str:
        """The file, and the object in it."""
        file = one_line(self.file)
        return f"{file}: {self.item}" if self.item else file
