"""Sources of batch prediction: lists, TFRecords whole and damaged, object storages."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from trainings import encoded

from ssd_keras.core.images import decode_image_file
from ssd_keras.engine.batch.sources import find_locations, lines_of, shown, stored_image


def write_images(folder, names=("b.jpg", "a.png", "notes.md")):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(encoded("PNG" if name.endswith("png") else "JPEG"))
    return folder


def write_records(path, ids=("one", "two", "three")):
    """TFRecords whose images are n pixels wide, n = 10, 20, ...; returns where they begin."""
    starts, end = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, name in enumerate(ids, 1):
            features = {"image/encoded": encoded("PNG", size=(10 * number, 5))}
            features |= {"image/source_id": name.encode()} if name else {}
            feature = {
                key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for key, value in features.items()
            }
            record = tf.train.Example(features=tf.train.Features(feature=feature))
            content = record.SerializeToString()
            starts.append(end)
            end += 16 + len(content)  # length, its checksum, the content's checksum
            writer.write(content)
    return starts


def test_folders_files_and_lists_give_each_image_once(tmp_path, monkeypatch):
    folder = write_images(tmp_path / "photos")
    listed = tmp_path / "list.txt"
    listed.write_text(f"\ufeff{folder}/b.jpg\n\nphotos/gone.jpg\r\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    expected = [f"{folder}/{name}" for name in ("a.png", "b.jpg", "gone.jpg")]
    assert find_locations(["photos", "list.txt", f"@{listed}"]) == expected
    odd = f"{folder}/caf\udce9.jpg"  # a name in Latin-1, as Python reads it
    assert lines_of([odd, "b"]) == os.fsencode(folder) + b"/caf\xe9.jpg\nb\n"
    assert shown(odd).endswith("caf\ufffd.jpg")
    (tmp_path / "saved.txt").write_bytes(lines_of([odd]))
    assert find_locations(["saved.txt"]) == [odd]


def test_records_are_found_and_read_one_by_one(tmp_path):
    starts = write_records(tmp_path / "a-0.tfrecord", ids=("one", "", "three"))
    write_records(tmp_path / "a-1.tfrecord", ids=("four",))
    found = find_locations([f"tfrecord:{tmp_path}/a-*"])
    first = [f"tfrecord:{tmp_path}/a-0.tfrecord#{start}" for start in starts]
    assert found == [*first, f"tfrecord:{tmp_path}/a-1.tfrecord#0"]
    stored = [stored_image(location) for location in found]
    assert [image.image_id for image in stored] == ["one", None, "three", "four"]
    widths = [decode_image_file(image.source).pixels.shape[1] for image in stored]
    assert widths == [10, 20, 30, 10]


@pytest.mark.parametrize("damage", ["content", "head", "cut off", "cut in the head", "gzip"])
def test_what_is_damaged_in_records_is_one_location_that_cannot_be_read(damage, tmp_path):
    path = tmp_path / "a.tfrecord"
    starts = write_records(path)
    content = bytearray(path.read_bytes())
    if damage == "cut off":
        content = content[: starts[2] + 40]
    elif damage == "cut in the head":
        content = content[: starts[2] + 5]
    elif damage == "gzip":
        content = b"\x1f\x8b" + content
    else:
        content[starts[1] + (20 if damage == "content" else 2)] ^= 1
    path.write_bytes(content)
    found = find_locations([f"tfrecord:{path}"])
    results = []
    for location in found:
        try:
            results.append(stored_image(location).image_id)
        except ValueError as error:
            results.append(str(error))
    lost = "the file is damaged from byte {} on; expected TFRecords"
    assert (
        results
        == {
            "content": ["one", lost.format(starts[1]), "three"],
            "head": ["one", lost.format(starts[1])],
            "cut off": ["one", "two", lost.format(starts[2])],
            "cut in the head": ["one", "two", lost.format(starts[2])],
            "gzip": [
                "the file is compressed with gzip (decompress it with gunzip); expected TFRecords"
            ],
        }[damage]
    )


def test_an_object_storage_is_searched_to_any_depth(tmp_path):
    pytest.importorskip("pyarrow", reason="NOT TESTED: pyarrow is not installed")
    write_images(tmp_path / "a b" / "deep", names=("c#1.png", "d.md"))
    write_images(tmp_path / "a b", names=("%41.jpg",))
    address = f"file://{tmp_path}"
    expected = [f"{address}/a%20b/%2541.jpg", f"{address}/a%20b/deep/c%231.png"]
    assert find_locations([address]) == find_locations([f"{address}/a%20b/"]) == expected
    assert find_locations([expected[1]]) == expected[1:]
    source = stored_image(expected[1]).source
    assert np.asarray(Image.open(io.BytesIO(source))).shape == (80, 100, 3)
    (tmp_path / "a b" / "deep" / "c#1.png").unlink()
    with pytest.raises(FileNotFoundError):
        stored_image(expected[1])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{folder}/gone.jpg", r"^image '.*gone\.jpg' does not exist; pass a file, a folder"),
        ("@{folder}/gone.txt", r"^list '.*gone\.txt' cannot be read \(No such file or .*\); exp"),
        ("{folder}/empty.txt", r"^list '.*empty\.txt' is empty; expected the path of an image"),
        ("tfrecord:{folder}/x*", r"^no file matches '.*/x\*'; expected TFRecord files, such as"),
        ("tfrecord:s3://b/x*", r"^tfrecord:s3://b/x\* is an address; .*: mount the storage, or"),
        ("file://{folder}/gone", r"^'file://.*gone' holds no image; expected the address of an"),
        ("ftp://there/a.jpg", r"^'ftp://there/' cannot be opened \(.*\); expected s3://, gs://,"),
    ],
)
def test_a_wrong_source_is_refused_in_one_line(source, message, tmp_path):
    pytest.importorskip("pyarrow", reason="NOT TESTED: pyarrow is not installed")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        find_locations([source.format(folder=tmp_path)])


def test_a_name_with_a_line_break_is_refused(tmp_path):
    write_images(tmp_path, names=("a\nb.jpg",))
    with pytest.raises(ValueError, match=r"^the name of image '.*a\\nb.jpg' has a line break; "):
        find_locations([str(tmp_path)])
