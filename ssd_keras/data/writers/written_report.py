"""What a copy of a data set holds, told by reading it again."""

from collections.abc import Sequence

from ssd_keras.data.splits import Split, load_splits

MOST_NAMES = 10


def describe_copies(
    splits: Sequence[Split], specs: Sequence[str], progress: bool = False
) -> list[str]:
    """Reads what was written, and says what is not as it was."""
    copies = load_splits(specs, progress)
    lines = [
        f"wrote {len(copy.data)} images; read them as '{spec}'"
        for copy, spec in zip(copies, specs, strict=True)
    ]
    before, after = _count(splits), _count(copies)
    problems = [problem for copy in copies for problem in copy.data.problems]
    for kind, lost in ((kind, before[kind] - after[kind]) for kind in before):
        if lost:
            first = f", the first: {problems[0]}" if problems and kind != "difficult flags" else ""
            lines.append(f"{kind} that this layout cannot hold and that are lost: {lost}{first}")
    return lines + _describe_classes(splits[0].data.class_names, copies[0].data.class_names)


def _count(splits: Sequence[Split]) -> dict[str, int]:
    examples = [example for split in splits for example in split.data.examples]
    return {
        "images": len(examples),
        "objects": sum(len(example.labels) for example in examples),
        "difficult flags": sum(int(example.is_difficult.sum()) for example in examples),
    }


def _describe_classes(old: Sequence[str], new: Sequence[str]) -> list[str]:
    moved = [
        f"{name} {number} -> {new.index(name)}"
        for number, name in enumerate(old)
        if name in new and new.index(name) != number
    ]
    gone = [name for name in old if name not in new]
    lines = []
    if moved:
        lines.append(
            f"class numbers are others, old -> new: {_listed(moved)}; where numbers matter, name "
            "the classes in a data.toml"
        )
    if gone:
        lines.append(f"classes that are gone, for no object has them: {_listed(gone)}")
    return lines


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - MOST_NAMES} more" if len(words) > MOST_NAMES else ""
    return ", ".join(words[:MOST_NAMES]) + more
