"""Prediction on videos: every frame once and in order, and one line for what cannot be read."""

import json
import os
import re
import sys

import numpy as np
import pytest
from trainings import StubDetector, finished_run

from ssd_keras import cli
from ssd_keras.engine import video
from ssd_keras.engine.video import is_video, predict_videos

SIZE = (96, 66)  # width and height
GREY = [20, 80, 140, 200, 110, 50, 170]
LEFT = ([[0.1, 0.1, 0.9, 0.4]], [0.875], [1])
RIGHT = ([[0.1, 0.6, 0.9, 0.9]], [0.25], [0])


@pytest.fixture(scope="module")
def cv2():
    return pytest.importorskip(
        "cv2", reason="NOT TESTED: videos need OpenCV: pip install 'ssd_keras[video]'"
    )


def written(cv2, path, codec="mp4v", rate=10.0):
    """A video of one grey a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, SIZE)
    for grey in GREY:
        writer.write(np.full((SIZE[1], SIZE[0], 3), grey, np.uint8))
    writer.release()
    return str(path)


def frames_of(cv2, path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (one := capture.read())[0]:
        frames.append(one[1][..., ::-1].astype(int))
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_frame_is_detected_drawn_and_listed(cv2, tmp_path, batch_size):
    source = written(cv2, tmp_path / "in" / "my clip.mp4")
    detector = StubDetector([LEFT if k % 2 else RIGHT for k in range(len(GREY))])
    output = tmp_path / "deep" / "out"
    detections, reports, problems = predict_videos(
        detector, [source], str(output), batch_size=batch_size
    )
    assert problems == [] and sorted(os.listdir(output)) == ["detections.json", "my clip.mp4"]
    assert json.loads((output / "detections.json").read_text()) == detections
    seen = [np.mean(image) for image in detector.images]
    np.testing.assert_allclose(seen, GREY, atol=4)
    assert [
        (one["image_id"], one["frame"], one["category_name"], one["score"]) for one in detections
    ] == [
        ("my clip", k, "car" if k % 2 else "dog", 0.875 if k % 2 else 0.25)
        for k in range(len(GREY))
    ]
    # 0.1 * 96, 0.1 * 66, 0.3 * 96, 0.8 * 66
    assert detections[1]["bbox"] == pytest.approx([9.6, 6.6, 28.8, 52.8], abs=1e-4)
    frames, rate = frames_of(cv2, output / "my clip.mp4")
    assert rate == 10.0 and len(frames) == len(GREY)
    for k, (frame, grey) in enumerate(zip(frames, GREY, strict=True)):
        assert frame.shape == (66, 96, 3)
        assert abs(np.median(frame) - grey) < 8
        # Only the box of .875 is drawn: its colour is no grey.
        drawn = np.ptp(frame[:, :45], axis=-1).max()
        assert drawn > 60 if k % 2 else drawn < 30
        assert np.ptp(frame[:, 84:], axis=-1).max() < 30  # right of the tag
    (report,) = reports
    assert (report.name, report.num_frames) == ("my clip", len(GREY))
    assert report.detection_ms > 0 and report.frames_per_second > 0
    assert re.fullmatch(
        r"my clip: 7 frames, [\d.]+ ms each to detect, [\d.]+ frames a second with .*", str(report)
    )


def test_the_first_frames_alone_and_two_videos_of_one_name(cv2, tmp_path, capsys):
    sources = [
        written(cv2, tmp_path / "a" / "clip.mp4"),
        written(cv2, tmp_path / "b" / "clip.avi", "MJPG"),
    ]
    detector = StubDetector([LEFT])
    detections, reports, _ = predict_videos(
        detector, sources, str(tmp_path / "out"), max_frames=4, batch_size=3, progress=True
    )
    assert [(one["image_id"], one["frame"]) for one in detections] == [
        (name, k) for name in ("clip", "clip_2") for k in range(4)
    ]
    assert len(frames_of(cv2, tmp_path / "out" / "clip_2.mp4")[0]) == 4
    assert len(detector.images) == 8
    assert "ms to detect" in capsys.readouterr().err


def damaged(cv2, folder):
    whole = written(cv2, folder / "whole.mp4")
    with open(whole, "rb") as file:
        content = file.read()
    for name, part in (("cut.mp4", content[:900]), ("empty.mov", b""), ("text.avi", b"no" * 500)):
        (folder / name).write_bytes(part)
    return whole, [str(folder / name) for name in ("cut.mp4", "empty.mov", "text.avi")]


def test_broken_videos_are_left_out_and_told_in_a_line(cv2, tmp_path, capfd):
    whole, broken = damaged(cv2, tmp_path)
    gone = str(tmp_path / "gone.mkv")
    detections, reports, problems = predict_videos(
        StubDetector([LEFT]), [*broken, gone, whole], str(tmp_path / "out")
    )
    assert [one.name for one in reports] == ["whole"] and len(detections) == len(GREY)
    expected = [f"{one}: no frame of this video can be read; check that it plays" for one in broken]
    expected += [f"{gone}: the video does not exist; pass a file or a camera's number"]
    assert problems == [f"{one}; dropped" for one in expected]
    assert sorted(os.listdir(tmp_path / "out")) == ["detections.json", "whole.mp4"]
    # Nor is a camera there; its driver and FFmpeg have much to say, which nobody sees.
    message = r"^none of 2 videos could be read; first: 99: no frame of this camera can be read; ch"
    with pytest.raises(ValueError, match=message):
        predict_videos(StubDetector([LEFT]), ["99", broken[0]], str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
    assert capfd.readouterr().err == ""


def test_a_video_that_ends_early_is_kept_and_told(cv2, tmp_path, monkeypatch):
    source = written(cv2, tmp_path / "clip.mp4")
    read = cv2.VideoCapture

    class Longer:
        """Says that it has more frames than it gives, as a file that was cut off does."""

        def __init__(self, path):
            self.capture, self.is_source = read(path), path == source
            self.read, self.release = self.capture.read, self.capture.release

        def get(self, what):
            is_count = self.is_source and what == cv2.CAP_PROP_FRAME_COUNT
            return 40.0 if is_count else self.capture.get(what)

    monkeypatch.setattr(cv2, "VideoCapture", Longer)
    _, reports, problems = predict_videos(StubDetector([LEFT]), [source], str(tmp_path / "out"))
    assert reports[0].num_frames == 7
    assert problems == [f"{source}: ended after 7 of 40 frames; the file may be cut off"]


def test_nothing_half_written_stays(cv2, tmp_path, monkeypatch):
    source = written(cv2, tmp_path / "clip.mp4")
    output = tmp_path / "out"

    class Failing(StubDetector):
        def __call__(self, images):
            if len(self.images) >= 4:
                raise RuntimeError("out of memory")
            return super().__call__(images)

    with pytest.raises(RuntimeError, match="out of memory"):
        predict_videos(Failing([LEFT]), [source], str(output), batch_size=2)
    assert os.listdir(output) == []

    # A disk that fills up: OpenCV says nothing, and the file has fewer frames.
    class Forgetful:
        def __init__(self, *arguments):
            self.writer, self.count = VideoWriter(*arguments), 0
            self.isOpened, self.release = self.writer.isOpened, self.writer.release

        def write(self, frame):
            self.count += 1
            if self.count <= 5:
                self.writer.write(frame)

    VideoWriter = cv2.VideoWriter
    monkeypatch.setattr(cv2, "VideoWriter", Forgetful)
    message = r"clip\.mp4: 5 of 7 frames could be written; expected all; make room on the disk$"
    with pytest.raises(OSError, match=message):
        predict_videos(StubDetector([LEFT]), [source], str(output))
    assert os.listdir(output) == []


def test_missing_codec_and_missing_opencv_are_told(cv2, tmp_path, monkeypatch):
    source = written(cv2, tmp_path / "clip.mp4")
    monkeypatch.setattr(video, "CODEC", "????")
    message = r"out/clip\.mp4: OpenCV cannot write a video there with its codec \?\?\?\?; expected"
    with pytest.raises(ValueError, match=message):
        predict_videos(StubDetector([LEFT]), [source], str(tmp_path / "out"))
    assert os.listdir(tmp_path / "out") == []
    monkeypatch.setitem(sys.modules, "cv2", None)
    message = r"^reading videos and cameras needs the package cv2, .*install 'ssd_keras\[video\]'$"
    with pytest.raises(ImportError, match=message):
        predict_videos(StubDetector([LEFT]), [source], str(tmp_path / "out"))


def test_the_video_that_is_read_is_never_overwritten(cv2, tmp_path):
    source = written(cv2, tmp_path / "clip.mp4")
    with open(source, "rb") as file:
        content = file.read()
    (tmp_path / "here").symlink_to(tmp_path)
    for output in (tmp_path, tmp_path / "here"):
        with pytest.raises(ValueError, match=r"^output '.*clip\.mp4' is a video that is read; ch"):
            predict_videos(StubDetector([LEFT]), [source], str(output))
    # Nor one that is read later.
    other = written(cv2, tmp_path / "other" / "clip.mp4")
    with pytest.raises(ValueError, match=r"^output '.*clip\.mp4' is a video that is read; choose"):
        predict_videos(StubDetector([LEFT]), [other, source], str(tmp_path))
    with open(source, "rb") as file:
        assert file.read() == content


class Camera:
    """A camera of an endless grey; its user presses Ctrl-C after five frames."""

    def __init__(self, number):
        assert number == 3
        self.count = 0

    def read(self):
        self.count += 1
        if self.count == 6:
            raise KeyboardInterrupt
        return True, np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)

    def get(self, what):
        return 0.0  # knows neither its rate nor how many frames there will be

    def release(self):
        pass


def test_a_camera_ends_well_when_interrupted(cv2, tmp_path, monkeypatch):
    read = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda one: (Camera if one == 3 else read)(one))
    detector = StubDetector([LEFT])
    detections, reports, problems = predict_videos(detector, ["3"], str(tmp_path / "out"))
    assert problems == [] and reports[0].name == "camera_3"
    assert [one["frame"] for one in detections] == list(range(5))
    frames, rate = frames_of(cv2, tmp_path / "out" / "camera_3.mp4")
    assert len(frames) == 5 and rate == 25.0


def test_videos_are_told_from_images(tmp_path, monkeypatch):
    assert [is_video(one) for one in ("a.MP4", "b/c.webm", "0", "cat.jpg", "folder", "1.jpg")] == [
        *(True, True, True),
        *(False, False, False),
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7").mkdir()
    assert is_video("8") and not is_video("7")  # a folder of that name


def test_the_command_takes_videos(cv2, tmp_path, capsys):
    source = written(cv2, tmp_path / "clip.mp4")
    words = ["predict", finished_run(), source, "--output", str(tmp_path / "out"), "--frames", "5"]
    capsys.readouterr()  # what a model that was trained first has printed
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert printed.err == "" and len(lines) == 2
    assert lines[0].startswith("clip: 5 frames, ")
    count = len(json.loads((tmp_path / "out" / "detections.json").read_text()))
    assert lines[1] == f"wrote 1 video to {tmp_path}/out; detections.json lists {count} detections"
    assert cli.main(["predict", finished_run(), source, "cat.jpg", "--output", "out"]) == 2
    assert capsys.readouterr().err == (
        "ssd-keras: images and videos are mixed; pass them in two calls.\n"
    )
