"""Finds class names that may be misspelt."""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ssd_keras.core.text import name_key
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind
from ssd_keras.doctor.statistics import label_counts

MIN_LETTERS = 4  # cat and car are two classes
MAX_RARE_SHARE = 0.05  # of the objects of the other name: a slip is rare
MAX_CLASSES = 1000  # more would take seconds


def similar_name_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns rare names that differ in one letter from a frequent one.

    Names that differ in digits, such as Raspberry_Pi_3 and Raspberry_Pi_4, are two classes. Readers
    find those that differ in case and blanks alone.
    """
    counts = np.sum([label_counts(split.data) for split in splits], axis=0).tolist()
    rows = zip(splits[0].data.class_names, counts, strict=True)
    used = [(name, name_key(name), count) for name, count in rows if count][:MAX_CLASSES]
    found = []
    for pair in combinations(used, 2):
        (rare, rare_letters, few), (name, letters, many) = sorted(pair, key=lambda row: row[2])
        if few <= MAX_RARE_SHARE * many and differ_in_one_letter(letters, rare_letters):
            detail = f"{few} objects; '{name}': {many} objects"
            found.append(Finding(FindingKind.SIMILAR_NAMES, f"'{rare}'", detail))
    return found


def differ_in_one_letter(first: str, second: str) -> bool:
    """Whether one letter too many, too few, wrong, or two swapped make one word of the other.

    Slips leave the first letter: boat and goat are two words.
    """
    if first[:1] != second[:1] or min(len(first), len(second)) < MIN_LETTERS:
        return False
    if re.sub(r"\D", "", first) != re.sub(r"\D", "", second):
        return False
    short, long = sorted((first, second), key=len)
    start = next(
        (i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short)
    )
    a, b = short[start:], long[start:]
    if len(long) - len(short) == 1:
        return a == b[1:]
    is_swapped = len(a) > 1 and a[:2] == b[1::-1] and a[2:] == b[2:]
    return len(short) == len(long) and a != b and (a[1:] == b[1:] or is_swapped)
