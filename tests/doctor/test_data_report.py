"""The report on a whole data set."""

import re

from example_records import encoded, example, split_of, textured, titles, write_faulty_voc

from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.data_report import check_data


def test_the_report_has_counts_and_findings(tmp_path):
    report = str(check_data(load_splits(write_faulty_voc(tmp_path))))
    lines = report.splitlines()
    assert lines[0] == "train: 4 images (0 without objects), 6 objects, 20 classes"
    rows = {line.split()[0]: line.split()[1:4] for line in lines[2:5]}
    # Objects, images, difficult: dogs are the two of a and the clipped one of c.
    assert rows == {"dog": ["3", "2", "0"], "cat": ["2", "2", "0"], "cow": ["1", "1", "0"]}
    text = report.partition("\nfound\n")[2]
    for words in (
        r"boxes of no area: 1\n    .*b\.xml: object 1 \(dog\)",
        r"boxes that reach outside their image: 1\n    .*c\.xml: object 1 .*; clipped",
        r"broken images: 1\n    .*d\.jpg: cannot be decoded \(",
        r"objects annotated twice: 1\n    .*a\.jpg: object 2 \(dog\) lies on object 1 \(dog\)",
        r"classes without objects: 36\n    train: no object of class 'aeroplane'\n",
        r"images of train that are in val too: 1\n    .*e\.jpg: is .*b\.jpg, with other boxes",
    ):
        assert re.search(words, text), words
    assert "val: no object of class 'dog' (train 3)" not in text  # the first three are shown


def test_a_clean_set_has_no_findings():
    clean = split_of(
        example("a", encoded(textured(1)), boxes=[[1, 1, 30, 30]]),
        example("b", encoded(textured(2)), boxes=[[20, 20, 30, 30]], labels=[1]),
    )
    assert str(check_data([clean])).endswith("\n\nno problems found")


def test_long_reports_are_cut():
    names = tuple(f"class_{number:02d}" for number in range(40))
    boxes = [[number, 1, 20, 20] for number in range(0, 39 * 2, 2)]
    split = split_of(example(boxes=boxes, labels=list(range(39))), names=names)
    report = str(check_data([split]))
    assert "... and 10 rarer classes" in report
    assert "train: no object of class 'class_39'" in report


def test_real_data(shared):
    """Two boxes of no area and six objects annotated twice, no leak: seen in the files by eye."""
    specs = [f"voc:{shared}/data/bccd@{name}" for name in ("train", "val")]
    report = check_data(load_splits(specs))
    assert titles(report.findings) == {"boxes of no area": 2, "objects annotated twice": 6}
    assert re.findall(r"^  all +(\d+)", str(report), re.M) == ["2804", "1137"]
