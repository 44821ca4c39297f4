"""Reads written data sets again and describes what they hold."""

from collections.abc import Sequence

from ssd_keras.core.text import short_list
from ssd_keras.data.splits import Split, load_splits


def describe_copies(
    splits: Sequence[Split], specs: Sequence[str], progress: bool = False
) -> list[str]:
    """Returns a line for each copy, and lines for what was lost or renumbered."""
    copies = load_splits(specs, progress)
    lines = [
        f"wrote {len(copy.data)} images; read them as '{spec}'"
        for copy, spec in zip(copies, specs, strict=True)
    ]
    before, after = _counts(splits), _counts(copies)
    problems = [problem for copy in copies for problem in copy.data.problems]
    for name, count in before.items():
        if lost := count - after[name]:
            first = f", the first: {problems[0]}" if problems and name != "difficult flags" else ""
            lines.append(f"{name} that the format cannot hold and that are lost: {lost}{first}")
    return lines + _describe_classes(splits[0].data.class_names, copies[0].data.class_names)


def _counts(splits: Sequence[Split]) -> dict[str, int]:
    examples = [example for split in splits for example in split.data.examples]
    return {
        "images": len(examples),
        "objects": sum(len(example.labels) for example in examples),
        "difficult flags": sum(int(example.is_difficult.sum()) for example in examples),
    }


def _describe_classes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    changed = [
        f"{name} {index} -> {new.index(name)}"
        for index, name in enumerate(old)
        if name in new and new.index(name) != index
    ]
    lost = [name for name in old if name not in new]
    lines = []
    if changed:
        lines.append(
            f"class indices changed (old -> new): {short_list(changed)}; to keep them, name the "
            "classes in a data.toml"
        )
    if lost:
        lines.append(f"classes lost, because no object has them: {short_list(lost)}")
    return lines
