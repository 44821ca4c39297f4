"""Data that cannot be learned from are refused, and classes are compared by name."""

import dataclasses
import re

import numpy as np
import pytest
from example_records import encoded, example, textured

from ssd_keras.data import DetectionData, Problem, ProblemKind
from ssd_keras.data.training_checks import (
    check_images,
    check_objects,
    class_differences,
    with_classes_of,
)

BOX = (10, 10, 30, 20)


def data_of(*examples, names=("dog", "cat"), problems=()):
    return DetectionData(names, examples, problems)


def test_data_without_an_object_name_the_first_problem():
    empty = [example("a"), example("b")]
    message = (
        "the training data have no object in 2 images; see what was read with `ssd-keras data "
        "check`, and give data with objects."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_objects(data_of(*empty), "training data")
    problem = Problem(ProblemKind.BAD_LINE, "a.txt: line 1", "dog")
    message = "2 images; the first problem: a.txt: line 1: dog is not understood; expected class x"
    with pytest.raises(ValueError, match=message):
        check_objects(data_of(*empty, problems=(problem,)), "training data")
    check_objects(data_of(*empty, example("c", boxes=[BOX])), "training data")


def test_crowds_never_count_and_difficult_objects_by_choice():
    crowd = example("a", boxes=[BOX], crowd=[True])
    difficult = dataclasses.replace(example("b", boxes=[BOX]), is_difficult=np.array([True]))
    with pytest.raises(
        ValueError, match=r"no object that counts \(1 are crowds or difficult\) in 1"
    ):
        check_objects(data_of(crowd), "validation data")
    check_objects(data_of(crowd, difficult), "training data")
    with pytest.raises(
        ValueError, match=r"no object that counts \(2 are crowds or difficult\) in 2"
    ):
        check_objects(data_of(crowd, difficult), "training data", use_difficult=False)


def test_images_that_are_missing_or_damaged_are_named(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded(textured(1))[:500])
    paths = [str(tmp_path / name) for name in ("cut.jpg", "gone.jpg")]
    check_images(data_of(example("a")), "validation data")
    message = (
        r"^the validation data cannot be used: .*cut\.jpg: .*, and 1 image more; load them with "
        r"load_data, which drops such images and lists them\.$"
    )
    with pytest.raises(ValueError, match=message):
        check_images(data_of(example(), *(example(image=x) for x in paths)), "validation data")
    with pytest.raises(ValueError, match=r"gone\.jpg: the image is missing; .* there; load"):
        check_images(data_of(example(image=paths[1])), "validation data")


@pytest.mark.parametrize(
    ("names", "model_names", "labels"),
    [
        (("dog", "cat"), ("cat", "dog"), [1, 0]),  # another order
        (("dog", "cat"), ("owl", "cat", "dog"), [2, 1]),  # some of the model's
        (("tvmonitor", "sofa"), ("couch", "tv"), [1, 0]),  # VOC's names of COCO's classes
        (("dog", "cat", "unused"), ("cat", "dog"), [1, 0]),  # a class without objects
    ],
)
def test_objects_get_the_labels_of_the_model_by_name(names, model_names, labels):
    data = data_of(example(boxes=[BOX, BOX], labels=[0, 1]), names=names)
    with pytest.warns(UserWarning, match=r"^the classes of the data .* labels by name\.$"):
        found = with_classes_of(data, model_names)
    assert found.class_names == model_names and found.examples[0].labels.tolist() == labels
    assert not found.problems


def test_equal_classes_are_left_alone_without_a_word():
    data = data_of(example(boxes=[BOX]))
    assert with_classes_of(data, ["dog", "cat"]) is data
    assert with_classes_of(data, ()) is data
    assert class_differences(data, ["dog", "cat"], "data") == ""


def test_objects_of_classes_that_the_model_lacks_are_refused():
    data = data_of(example(boxes=[BOX, BOX], labels=[0, 1]))
    message = (
        "the data have objects of cat, which are no classes of the model (dog, owl); load the "
        "data with load_data(..., class_names=model.class_names), or build the model with "
        "class_names=data.class_names."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        with_classes_of(data, ("dog", "owl"))


def test_differences_of_a_detector_and_its_data_are_one_line():
    data = data_of(example(boxes=[BOX, BOX], labels=[0, 1]))
    assert class_differences(data, ("owl", "dog"), "validation data") == (
        "the classes of the validation data are not those of the model, and are compared by name; "
        "detections of owl, which the data lack, do not count; objects of cat, which the model "
        "lacks, are never found."
    )
    message = r"^the data have objects of cat, dog alone, the model detects owl; load the data"
    with pytest.raises(ValueError, match=message):
        class_differences(data, ("owl",), "data")
