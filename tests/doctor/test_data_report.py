"""The report on a whole data set."""

import re

from example_records import encoded, example, split_of, textured, titles, write_faulty_voc

from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.class_table import split_tables
from ssd_keras.doctor.data_report import check_data


def test_the_report_has_findings_then_counts(tmp_path):
    report = str(check_data(load_splits(write_faulty_voc(tmp_path))))
    findings, tables = report.split("\n\n", maxsplit=1)
    assert findings.splitlines() == [
        f"found, what harms most first; files are below {tmp_path}",
        "  groups of duplicates across train and val (2 images): 1; --fix drops them from the "
        "split named first",
        "    JPEGImages/b.jpg: is e.jpg (val), with other boxes",
        *findings.splitlines()[3:],
    ]
    for words in (
        r"  broken images: 1\n    JPEGImages/d\.jpg: cannot be decoded \(",
        r"  boxes of no area: 1 dropped\n    Annotations/b\.xml: object 1 \(dog\)",
        r"  boxes that reach outside their image: 1 clipped\n    Annotations/c\.xml: object 1 ",
        r"  objects annotated twice: 1; --fix drops the second\n    JPEGImages/a\.jpg: object 2 ",
        r"  classes without objects: 2\n    train: 17 of 20 classes have no object\n    val: 19",
    ):
        assert re.search(words, findings), words
    lines = tables.splitlines()
    assert lines[0] == "train: 4 images (0 without objects), 6 objects, 3 of 20 classes"
    # Objects and images of train and of val: dogs are the two of a and the clipped one of c.
    rows = {line.split()[0]: line.split() for line in lines[5:8]}
    counts = {name: [row[1], row[2], row[7], row[8]] for name, row in rows.items()}
    assert counts == {"dog": [*"3200"], "cat": [*"2211"], "cow": [*"1100"]}


def test_a_clean_set_has_no_findings():
    clean = split_of(
        example("a", encoded(textured(1)), boxes=[[1, 1, 30, 30]]),
        example("b", encoded(textured(2)), boxes=[[20, 20, 30, 30]], labels=[1]),
    )
    assert str(check_data([clean])).startswith("no problems found\n\n")


def test_long_tables_are_cut():
    """40 classes, 39 of them with objects: 30 rows, the most frequent in both splits first."""
    names = tuple(f"class_{number:02d}" for number in range(40))
    boxes = [[number, 1, 20, 20] for number in range(0, 39 * 2, 2)]
    first = split_of(example(boxes=boxes, labels=list(range(39))), names=names)
    twice = split_of(example(boxes=boxes[:2], labels=[38, 38]), name="val", names=names)
    lines = split_tables([first, twice]).splitlines()
    rows = [line.split()[0] for line in lines if line.startswith("  class_")]
    assert rows == ["class_38", *names[:29]]
    assert "  ... and 9 rarer classes" in lines
    assert "  1 class without objects: class_39" in lines


def test_real_data(shared):
    """Two boxes of no area, six objects annotated twice, one leak: seen in the files by eye."""
    specs = [f"voc:{shared}/data/bccd@{name}" for name in ("train", "val")]
    report = check_data(load_splits(specs))
    leak = "groups of near-duplicates across train and val (2 images)"
    assert titles(report.findings) == {
        "boxes of no area": 2,
        "objects annotated twice": 6,
        leak: 1,
    }
    assert "BloodImage_00038.jpg: looks like BloodImage_00037.jpg (val) (correlation" in str(report)
    assert re.search(r"^  all +2804 .* 1137 ", str(report), re.M)
