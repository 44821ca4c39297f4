"""The output folder of batch prediction: parts, kills between its steps, refusals."""

import json
import os
import re

import pytest

from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.engine.batch import output as module
from ssd_keras.engine.batch.output import Part, open_output

IMAGES = [f"/photos/{number}.jpg" for number in range(150)]
BROKEN = Problem(ProblemKind.BROKEN_IMAGE, "/photos/9.jpg", "cut off", group="a")


def settings(**changes):
    options = {"model": "m", "model_sha256": "1f", "format": "jsonl", "batch_size": 2}
    return options | {"score_threshold": 0.1, "max_pixels": 9} | changes


def part(images, *problems):
    content = "".join(f"{image}\n" for image in images).encode()
    return Part(content, len(images), len(problems), 3 * len(images), list(problems))


def opened(folder, images=IMAGES, resume=False, **changes):
    return open_output(str(folder), settings(**changes), images, resume)


def lines(folder):
    """The lines of all parts in their order."""
    paths = sorted(folder.glob("part-*"))
    return [line for path in paths for line in path.read_text().splitlines()]


def test_parts_are_whole_batches_of_about_a_64th_and_of_bounded_size(tmp_path):
    # 150 / 64 is 3 when rounded up, which is 4 in batches of 2: 38 parts, the last of 150 - 37 * 4
    with opened(tmp_path / "a") as output:
        assert len(output.parts) == len(output.todo) == 38
        assert [len(output.todo[number]) for number in (0, 36, 37)] == [4, 4, 2]
        assert [image for one in output.parts for image in one] == IMAGES
    many = [str(number) for number in range(100_000)]
    with opened(tmp_path / "b", many, batch_size=300) as output:
        assert len(output.parts[0]) == 1200  # 1000 images at most, in whole batches


def test_what_is_finished_is_not_done_again_and_counts(tmp_path):
    with opened(tmp_path) as output:
        output.write(0, part(output.todo[0]))
        output.write(37, part(output.todo[37], BROKEN))
    with opened(tmp_path, resume=True) as output:
        assert list(output.todo) == list(range(1, 37))
        assert (output.totals.num_images, output.totals.num_invalid) == (6, 1)
        assert (output.totals.num_detections, output.totals.problems) == (18, [BROKEN])
        for number, images in output.todo.items():
            output.write(number, part(images))
    assert lines(tmp_path) == IMAGES
    with opened(tmp_path, resume=True) as output:
        assert not output.todo and output.totals.num_images == 150
    assert not (tmp_path / module.LOCK_FILE).exists()


def test_a_part_without_its_line_and_a_line_without_its_part_are_done_again(tmp_path):
    with opened(tmp_path) as output:
        for number in range(4):
            output.write(number, part(output.todo[number]))
    os.remove(tmp_path / "part-000001.jsonl")
    journal = tmp_path / module.FINISHED_FILE
    # As a kill leaves them: the last line cut off, and a file that is not whole.
    journal.write_text(journal.read_text()[:-9])
    (tmp_path / ".writing-part-000007.jsonl").write_text("half")
    with opened(tmp_path, resume=True) as output:
        assert list(output.todo)[:3] == [1, 3, 4] and output.totals.num_images == 8
        for number, images in output.todo.items():
            output.write(number, part(images))
        assert output.totals.num_images == 150
    assert lines(tmp_path) == IMAGES
    assert not list(tmp_path.glob(".writing-*"))
    with opened(tmp_path, resume=True) as output:
        assert not output.todo and output.totals.num_images == 150


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_ended_before_its_first_part_begins_again(resume, tmp_path):
    with opened(tmp_path, IMAGES[:9]):
        pass
    if resume:  # ended between the two files
        os.remove(tmp_path / module.SETTINGS_FILE)
    with opened(tmp_path, resume=resume) as output:
        assert len(output.todo) == 38
    assert len((tmp_path / module.IMAGES_FILE).read_text().splitlines()) == 150


def test_what_belongs_to_something_else_is_refused_in_one_line(tmp_path):
    def refused(message, resume=True, folder=tmp_path, images=IMAGES, **changes):
        with pytest.raises(ValueError, match=message), opened(folder, images, resume, **changes):
            pass

    with opened(tmp_path) as output:
        output.write(0, part(output.todo[0]))
        refused(r"^output '.*' is in use: process \d+ on \S+ writes into it; wait for its end")
    path = re.escape(str(tmp_path))
    refused(rf"^output '{path}' holds detections; pass --resume \(resume=True\)", resume=False)
    refused(
        rf"^output '{path}' was begun with other images, 150 instead of 149; pass "
        rf"'{path}/_images.txt' as the source to go on with them, or",
        images=IMAGES[1:],
    )
    refused(r"was begun with another model, m; pass that one as it was, or", model_sha256="2e")
    refused(r"was begun with --format jsonl, not parquet; pass the same, or", format="parquet")
    refused(r"was begun with --score-threshold 0\.1, not 0\.2; pass", score_threshold=0.2)
    assert json.loads((tmp_path / module.SETTINGS_FILE).read_text())["num_images"] == 150
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    message = r"^output '.*other' is not empty: it holds 'notes\.txt'; choose a new folder\.$"
    for resume in (True, False):
        refused(message, resume, other)
    assert os.listdir(other) == ["notes.txt"]


def test_a_moved_model_of_the_same_content_goes_on(tmp_path):
    with opened(tmp_path):
        pass
    with opened(tmp_path, resume=True, model="elsewhere") as output:
        assert len(output.todo) == 38
