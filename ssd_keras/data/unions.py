"""Unites data sets by class name; renames, merges and drops classes; keeps image ids unique."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ssd_keras.core.class_names import labels_by_name, united_names
from ssd_keras.core.text import clean_name, did_you_mean, is_plain_text, name_key, short_list
from ssd_keras.data.image_sources import ImageSource
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.records import DetectionData, Example

OBJECT_FIELDS = ("boxes", "labels", "is_difficult", "is_crowd", "areas")


@dataclass(frozen=True)
class ClassChanges:
    """New names of classes, several of which may become one, and classes to drop."""

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.rename or self.drop)

    def new_name(self, name: str) -> str | None:
        """Returns the name that a class gets, or None for a class to drop."""
        return None if name in self.drop else self.rename.get(name, name)


def make_changes(rename: Any, drop: Any, place: str) -> ClassChanges:
    """Returns checked class changes; names are compared as those of classes are."""
    texts = [*rename, *rename.values()] if isinstance(rename, Mapping) else [None]
    if not all(isinstance(text, str) and is_plain_text(clean_name(text)) for text in texts):
        raise ValueError(f'{place}: rename is {rename!r}; expected such as {{van = "vehicle"}}')
    names = [drop] if isinstance(drop, str) else drop
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{place}: drop is {drop!r}; expected a list of classes, as ["person"]')
    changes = ClassChanges(
        {clean_name(old): clean_name(new) for old, new in dict(rename).items()},
        tuple(map(clean_name, names)),
    )
    both = sorted({*changes.drop} & changes.rename.keys())
    if both:
        raise ValueError(f"{place}: '{both[0]}' is in rename and in drop; leave it out of one")
    return changes


def change_classes(data: DetectionData, changes: ClassChanges) -> DetectionData:
    """Returns the same images with classes renamed and merged; objects of classes to drop go."""

    def dropped(location: str, name: str, example: Example, box: Sequence[float]) -> Problem:
        kind = ProblemKind.DROPPED_CLASS
        return Problem(kind, location, name, group=name, image=example.image, box=box)

    if not changes:
        return data
    new_names = [changes.new_name(name) for name in data.class_names]
    class_names = tuple(dict.fromkeys(name for name in new_names if name is not None))
    new_labels = [-1 if name is None else class_names.index(name) for name in new_names]
    return _relabel(data, class_names, new_labels, dropped)


def unknown_changes(
    changes: ClassChanges, sources: Sequence[DetectionData], place: str
) -> list[Problem]:
    """Returns a note for each class to rename or drop that none of the data sets has."""
    known = list(dict.fromkeys(name for data in sources for name in data.class_names))
    problems = []
    for name in (*changes.rename, *changes.drop):
        if name not in known:
            hint = did_you_mean(name, known).strip() or f"they have {short_list(known)}"
            detail = f"'{name}'; {hint}"
            problems.append(Problem(ProblemKind.UNKNOWN_CHANGE, place, detail, group=name))
    return problems


def similar_names(class_names: Sequence[str], place: str) -> list[Problem]:
    """Returns a note for each class whose name differs from another in case or blanks alone."""
    first: dict[str, str] = {}
    problems = []
    for name in class_names:
        other = first.setdefault(name_key(name), name)
        if other != name and any(map(str.isalpha, name)):
            detail = f"'{other}' and '{name}'"
            problems.append(Problem(ProblemKind.SIMILAR_NAMES, place, detail))
    return problems


def unite(sources: Sequence[DetectionData], class_names: Sequence[str] | None) -> DetectionData:
    """Returns one data set with the images of several, joined by class name."""
    if len(sources) == 1:
        return sources[0]
    if class_names is None:
        class_names = united_names([data.class_names for data in sources])
    relabeled = [relabel(source, class_names) for source in sources]
    numbered = [(number, x) for number, data in enumerate(relabeled) for x in data.examples]
    new_ids = [f"{number}:{example.image_id}" for number, example in numbered]
    examples = with_unique_ids([example for _, example in numbered], new_ids)
    problems = [problem for data in relabeled for problem in data.problems]
    return DetectionData(tuple(class_names), tuple(examples), tuple(problems))


def with_source(data: DetectionData, source: str) -> DetectionData:
    """Returns the data with the name of their data set in each image."""
    return replace(data, examples=tuple(replace(x, source=source) for x in data.examples))


def with_unique_ids(examples: Sequence[Example], new_ids: Sequence[str]) -> list[Example]:
    """Returns the examples; those whose id is taken, as a text too, get another one."""
    taken = {str(example.image_id) for example in examples}
    seen: set[str] = set()
    unique = []
    for example, new_id in zip(examples, new_ids, strict=True):
        if str(example.image_id) in seen:
            image_id = next(each for each in _numbered(new_id) if each not in taken)
            taken.add(image_id)
            example = replace(example, image_id=image_id)
        seen.add(str(example.image_id))
        unique.append(example)
    return unique


def relabel(data: DetectionData, class_names: Sequence[str]) -> DetectionData:
    """Returns the same images under other class names; objects of other classes are dropped."""

    def unknown(location: str, name: str, example: Example, box: Sequence[float]) -> Problem:
        return unknown_class(location, name, class_names, example.image, box)

    if data.class_names == tuple(class_names):
        return data
    label_of = labels_by_name(class_names)
    new_labels = [label_of.get(name, -1) for name in data.class_names]
    return _relabel(data, tuple(class_names), new_labels, unknown)


def unknown_class(
    location: str, name: str, class_names: Sequence[str], image: ImageSource, box: Sequence[float]
) -> Problem:
    """Returns the problem of an object whose class is none of the data's."""
    same = [known for known in class_names if name_key(known) == name_key(name)]
    expected = (
        f"the data have '{same[0]}'" if same else f"expected one of {short_list(class_names)}"
    )
    detail = f"'{name}'; {expected}"
    kind = ProblemKind.UNKNOWN_CLASS
    return Problem(kind, location, detail, group=name, image=image, box=tuple(box))


def category_ids_of(class_names: Sequence[str], label_of_id: Mapping[int, int]) -> tuple[int, ...]:
    """Returns the first id of each class; classes without one get the next free ids."""
    id_of = {label: number for number, label in reversed([*label_of_id.items()])}
    free_ids = itertools.count(max(label_of_id, default=0) + 1)
    return tuple(
        id_of[label] if label in id_of else next(free_ids) for label in range(len(class_names))
    )


def _numbered(image_id: str) -> Iterator[str]:
    yield image_id
    yield from (f"{image_id}_{number}" for number in itertools.count(2))


def _relabel(
    data: DetectionData,
    class_names: tuple[str, ...],
    new_labels: Sequence[int],
    problem_of: Callable[[str, str, Example, Sequence[float]], Problem],
) -> DetectionData:
    """Returns the data with new labels; each object whose new label is -1 becomes a problem."""
    labels = np.array(new_labels, np.int32)
    problems = list(data.problems)
    for example in data.examples:
        for index in np.flatnonzero(labels[example.labels] < 0):
            name = data.class_names[example.labels[index]]
            location = f"{example.location}: object {index + 1} ({name})"
            problems.append(problem_of(location, name, example, tuple(example.boxes[index])))
    examples = tuple(_with_labels(example, labels) for example in data.examples)
    label_of_id = {
        number: int(labels[label])
        for number, label in data.label_of_id.items()
        if labels[label] >= 0
    }
    category_ids = category_ids_of(class_names, dict(sorted(label_of_id.items())))
    return replace(
        data,
        class_names=class_names,
        examples=examples,
        problems=tuple(problems),
        category_ids=category_ids,
        label_of_id=label_of_id,
    )


def _with_labels(example: Example, new_labels: np.ndarray) -> Example:
    labels = new_labels[example.labels]
    columns = {name: getattr(example, name)[labels >= 0] for name in OBJECT_FIELDS}
    original = example.annotated
    return replace(
        example,
        **{**columns, "labels": labels[labels >= 0]},
        annotated=None if original is None else _with_labels(original, new_labels),
    )
