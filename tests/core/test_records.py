"""Records out of tables: what each annotation takes, and the line for what it does not."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from ssd_keras.core.records import PartOf, complete_parts, default_part, from_table, meanings


@dataclasses.dataclass(frozen=True)
class Size:
    """A size.

    Args:
        height, width: in pixels.
    """

    height: int
    width: int = 7

    def __post_init__(self) -> None:
        if self.height < 1:
            raise ValueError(f"height={self.height} must be 1 or more.")


@dataclasses.dataclass(frozen=True)
class Everything:
    """A field of each kind.

    Args:
        size: of the whole.
        ratio: a number: height by width,
            or None.
    """

    size: Size
    ratio: float | None = 1.0
    pair: tuple[int, str] = (1, "a")
    numbers: Sequence[float] = ()
    kind: Literal["plain", "bold"] = "plain"
    part: Annotated[Mapping[str, Any], PartOf("class_loss")] = default_part("softmax")
    bare: tuple = ()
    anything: Any = None
    function: Callable | None = None
    choice: Size | Mapping[str, Any] | str | None = None

    def __post_init__(self) -> None:
        complete_parts(self)


def test_each_annotation_takes_its_values():
    found = from_table(
        Everything,
        {
            "size": {"height": np.int64(3)},
            "ratio": 2,
            "pair": [4, "b"],
            "numbers": np.array([1, 2.5]),
            "kind": "bold",
            "part": {"gamma": 3, "shape": [[1], ["None"]]},
            "bare": [1, "b"],
            "anything": {2},
            "function": len,
            "choice": {"height": "tall"},  # the reader of the table knows better
        },
    )
    part = {"type": "softmax", "gamma": 3, "shape": ((1,), (None,))}
    expected = Everything(
        Size(3), 2.0, (4, "b"), (1.0, 2.5), "bold", part, (1, "b"), {2}, len, {"height": "tall"}
    )
    assert found == expected and type(found.ratio) is float and type(found.size.height) is int
    for nothing in (None, "None"):
        assert from_table(Everything, {"size": Size(1), "ratio": nothing}).ratio is None
    assert from_table(Everything, {"size": Size(1), "choice": Size(2)}).choice == Size(2)
    assert from_table(Everything, {"size": Size(1), "part": "focal"}).part == {"type": "focal"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 3}, r"x\.size is 3; expected a table"),
        ({"size": {}}, r"x\.size\.height is missing; add it"),
        ({"size": {"hight": 3}}, r"x\.size: option 'hight' is unknown; did you mean 'height'\?"),
        ({"size": {"height": 0}}, r"x\.size\.height=0 must be 1 or more"),
        ({"size": {"height": 2.0}}, r"x\.size\.height is 2\.0; expected a whole number"),
        ({"ratio": True}, r"x\.ratio is True; expected a finite number"),
        ({"ratio": 10**400}, r"x\.ratio is 10+; expected a finite number"),
        ({"pair": [1]}, r"x\.pair is \[1\]; expected a list of 2"),
        ({"pair": ["a", 1]}, r"x\.pair\[0\] is 'a'; expected a whole number"),
        ({"numbers": "12"}, r"x\.numbers is '12'; expected a list"),
        ({"numbers": [1, float("inf")]}, r"x\.numbers\[1\] is inf; expected a finite number"),
        ({"kind": ["bold"]}, r"x\.kind \['bold'\] is unknown; .*choose one of plain, bold"),
        ({"part": 3}, r"x\.part is 3; expected a type or a table with a type"),
        ({"part": {"gamma": {1}}}, r"x\.part\.gamma is \{1\}; expected a text, a number, true"),
        ({"function": 3}, r"x\.function is 3; expected a function"),
    ],
)
def test_what_an_annotation_does_not_take_is_named(changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        from_table(Everything, {"size": {"height": 1}} | changes, "x")


def test_meanings_come_from_the_docstring():
    expected = {"size": "of the whole.", "ratio": "a number: height by width, or None."}
    assert meanings(Everything) == expected
    assert meanings(Size) == {"height": "in pixels.", "width": "in pixels."}
