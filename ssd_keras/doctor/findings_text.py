"""Findings as text: what harms most first, each kind once, in a limited number of lines."""

import os
from collections.abc import Sequence

from ssd_keras.core.text import one_line, short_list
from ssd_keras.doctor.findings import Finding

MAX_LINES = 40
MAX_EXAMPLES = 3  # of one kind
MAX_LENGTH = 240  # characters of a line
MAX_NAMES = 8  # of kinds or groups that a line lists
INDENT = "  "


def findings_text(findings: Sequence[Finding], folder: str = "") -> str:
    """Returns at most `MAX_LINES` lines; names of files are relative to the folder."""
    if not findings:
        return "no problems found"
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: each.order):
        kinds.setdefault((finding.title, finding.action), []).append(finding)
    groups = list(kinds.values())
    first = "found, what harms most first" + (f"; files are below {folder}" if folder else "")
    num_shown = len(groups) if len(groups) < MAX_LINES else MAX_LINES - 2
    shown, hidden = groups[:num_shown], groups[num_shown:]
    examples = [_examples(group) for group in shown]
    counts = _fitting_counts(examples, MAX_LINES - 1 - len(shown) - bool(hidden))
    lines = [first]
    for group, texts, count in zip(shown, examples, counts, strict=True):
        lines.append(INDENT + _title(group))
        lines += [INDENT * 2 + text for text in texts[:count]]
    if hidden:
        names = [f"{group[0].title} {len(group)}" for group in hidden]
        lines.append(f"{INDENT}and {len(hidden)} kinds more: {short_list(names, MAX_NAMES)}")
    return "\n".join(one_line(_relative(line, folder), MAX_LENGTH) for line in lines)


def common_folder(paths: Sequence[str]) -> str:
    """Returns the folder that all paths lie in, "" where they share none worth naming."""
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # no path, absolute and relative ones, or two drives
        return ""
    return "" if folder == os.path.dirname(folder) else folder


def _relative(line: str, folder: str) -> str:
    if not folder:
        return line
    # A data file may name its own folder, as in "voc:.@train".
    return line.replace(os.path.join(folder, ".", ""), "").replace(os.path.join(folder, ""), "")


def _title(group: Sequence[Finding]) -> str:
    first = group[0]
    remedy = getattr(first.kind, "remedy", "")
    action = f" {first.action}" if first.action else ""
    return f"{first.title}: {len(group)}{action}" + (f"; {remedy}" if remedy else "")


def _examples(findings: Sequence[Finding]) -> list[str]:
    """Returns up to `MAX_EXAMPLES` lines; findings of one group are one line, the largest first."""
    if not findings[0].group:
        return [str(finding) for finding in findings[:MAX_EXAMPLES]]
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.group, []).append(finding)
    largest = sorted(groups.values(), key=len, reverse=True)
    num_whole = MAX_EXAMPLES if len(largest) <= MAX_EXAMPLES else MAX_EXAMPLES - 1
    lines = [
        f"{group[0].group}: {len(group)}, the first {group[0]}" for group in largest[:num_whole]
    ]
    if others := [f"{group[0].group} {len(group)}" for group in largest[num_whole:]]:
        lines.append(f"also {short_list(others, MAX_NAMES)}")
    return lines


def _fitting_counts(examples: Sequence[Sequence[str]], num_lines: int) -> list[int]:
    """Returns how many examples of each kind fit: each kind gets its first before any a second."""
    counts = [0] * len(examples)
    for number in range(MAX_EXAMPLES):
        for index, texts in enumerate(examples):
            if number < len(texts) and num_lines > 0:
                counts[index] += 1
                num_lines -= 1
    return counts
