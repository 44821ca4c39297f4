"""The list of findings: order, number of lines, names of files."""

import os

import pytest

from ssd_keras.data.problems import ProblemKind
from ssd_keras.doctor.findings import Finding, FindingKind
from ssd_keras.doctor.findings_text import common_folder, findings_text


def test_what_harms_most_comes_first():
    findings = [
        Finding(ProblemKind.NO_AREA, "a", "boxless", action="read as points"),
        Finding(FindingKind.EMPTY_CLASS, "b", "detail"),
        Finding(ProblemKind.NO_AREA, "c", "boxless", action="dropped"),
        Finding(ProblemKind.BROKEN_IMAGE, "d", "detail"),
        Finding(FindingKind.LEAK, "e", "detail", ("train", "val")),
        Finding(FindingKind.NO_OBJECT, "f", "detail"),
    ]
    lines = findings_text(findings).splitlines()
    assert [line.split(":")[0].strip() for line in lines[2::2]] == ["f", "e", "d", "c", "b", "a"]
    assert lines[7] == "  boxes of no area: 1 dropped"
    assert lines[11] == "  boxes of no area: 1 read as points"


def test_each_kind_has_its_number_and_three_examples():
    findings = [Finding(FindingKind.REPEATED, f"/data/{n}.jpg", "detail") for n in range(9)]
    assert findings_text(findings, "/data").splitlines() == [
        "found, what harms most first; files are below /data",
        "  objects annotated twice: 9; --fix drops the second",
        "    0.jpg: detail",
        "    1.jpg: detail",
        "    2.jpg: detail",
    ]


def test_a_folder_that_names_itself_is_left_out_too():
    finding = Finding(FindingKind.REPEATED, os.path.join("/data", ".", "0.jpg"), "detail")
    assert findings_text([finding], "/data").endswith("\n    0.jpg: detail")


def test_groups_of_a_kind_are_one_line_each_with_their_number():
    counts = {"one": 1, "sun": 8, "two": 2, "van": 3, "ufo": 1}
    findings = [
        Finding(ProblemKind.UNKNOWN_CLASS, f"{name}{n}", "unknown", action="dropped", group=name)
        for name, count in counts.items()
        for n in range(count)
    ]
    assert findings_text(findings).splitlines()[1:] == [
        "  objects of unknown classes: 15 dropped",
        "    sun: 8, the first sun0: unknown",
        "    van: 3, the first van0: unknown",
        "    also two 2, one 1, ufo 1",
    ]


def many_kinds(number, of_each):
    """Splits in the title make each a kind."""
    return [
        Finding(FindingKind.LEAK, f"{n}.jpg", "detail", (f"part{kind:02d}", "val"))
        for kind in range(number)
        for n in range(of_each)
    ]


# kinds, findings of each: titles, examples and other lines
LENGTHS = {
    "ten kinds of three fill the lines": (10, 3, (10, 29)),
    "nine kinds have all their examples": (9, 9, (9, 27)),
    "20 kinds have one example, but the last": (20, 9, (20, 19)),
    "38 kinds have a title, the first an example": (38, 9, (38, 1)),
    "50 kinds": (50, 9, (38, 0)),
}


@pytest.mark.parametrize(("kinds", "of_each", "expected"), LENGTHS.values(), ids=LENGTHS)
def test_no_more_than_40_lines(kinds, of_each, expected):
    lines = findings_text(many_kinds(kinds, of_each)).splitlines()
    assert len(lines) <= 40
    examples = sum(line.startswith("    ") for line in lines)
    titles = sum(line.startswith("  groups of duplicates across part") for line in lines)
    assert (titles, examples) == expected
    if kinds == 50:
        assert lines[-1].startswith(
            "  and 12 kinds more: groups of duplicates across part38 (val images) 9, "
        )
        assert lines[-1].endswith(" and 4 more")


def test_a_thousand_unknown_classes_with_long_names_are_few_short_lines():
    findings = [
        Finding(ProblemKind.UNKNOWN_CLASS, "a.xml", "x" * 900, action="dropped", group=f"{n}" * 99)
        for n in range(1000)
    ]
    lines = findings_text(findings).splitlines()
    assert len(lines) == 5 and max(map(len, lines)) < 250


# paths and the folder that all lie in
FOLDERS = {
    "one folder": (["/a/b/c.jpg", "/a/b/d.jpg"], "/a/b"),
    "two folders": (["/a/b/c.jpg", "/a/d/e.xml"], "/a"),
    "relative": (["a/b/c.jpg", "a/d/e.xml"], "a"),
    "nothing shared": (["/a/b.jpg", "/c/d.jpg"], ""),
    "relative and absolute": (["/a/b.jpg", "a/d.jpg"], ""),
    "none": ([], ""),
}


@pytest.mark.parametrize(("paths", "folder"), FOLDERS.values(), ids=FOLDERS)
def test_the_folder_of_all_files(paths, folder):
    paths = [path.replace("/", os.sep) for path in paths]
    assert common_folder(paths) == folder.replace("/", os.sep)
