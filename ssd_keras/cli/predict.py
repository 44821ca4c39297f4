"""`ssd-keras predict`."""

import argparse
from collections.abc import Sequence

from ssd_keras.cli.arguments import DETECTOR_HELP, add_max_pixels, fraction, positive_int
from ssd_keras.cli.inputs import print_problems
from ssd_keras.core.terminal import is_terminal, start_tensorflow

HELP = "draw and list what a model detects"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=DETECTOR_HELP)
    parser.add_argument(
        "images",
        nargs="+",
        help="image files or folders; or, with OpenCV installed, videos and numbers of cameras",
    )
    parser.add_argument("--output", required=True, help="directory to write")
    parser.add_argument(
        "--score-threshold",
        type=fraction,
        default=0.0,
        help="smallest score listed in detections.json, 0..1; default: the model's own",
    )
    parser.add_argument(
        "--display-threshold",
        type=fraction,
        default=0.5,
        help="smallest score drawn, 0..1; default 0.5",
    )
    parser.add_argument("--batch-size", type=positive_int, default=8)
    parser.add_argument(
        "--frames", type=positive_int, help="most frames of a video or camera; default: all"
    )
    add_max_pixels(parser)
    parser.set_defaults(run=run)


def run(
    model: str,
    images: Sequence[str],
    output: str,
    score_threshold: float,
    display_threshold: float,
    batch_size: int,
    frames: int | None,
    max_pixels: int,
) -> None:
    start_tensorflow()
    from ssd_keras.data.problems import problem_lines
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.predict import find_images, passed_over, predict
    from ssd_keras.engine.video import import_opencv, is_video, predict_videos

    are_videos = set(map(is_video, images))
    if len(are_videos) > 1:
        raise ValueError("images and videos are mixed; pass them in two calls.")
    if are_videos == {True}:
        import_opencv()  # a missing OpenCV stops before the model loads, which takes longer
        detections, reports, lines = predict_videos(
            load_detector(model),
            images,
            output,
            score_threshold=score_threshold,
            display_threshold=display_threshold,
            batch_size=batch_size,
            max_frames=frames,
            progress=is_terminal(),
        )
        print_problems(lines)
        print(*reports, sep="\n")
        print(f"wrote {len(reports)} videos and {len(detections)} detections to {output}")
        return
    files = find_images(images)
    detections, problems = predict(
        load_detector(model),
        files,
        output,
        score_threshold=score_threshold,
        display_threshold=display_threshold,
        batch_size=batch_size,
        progress=is_terminal(),
        max_pixels=max_pixels,
    )
    print_problems([*filter(None, [passed_over(images)]), *problem_lines(problems)])
    num_images = len(files) - sum(problem.is_loss for problem in problems)
    num_drawn = sum(detection["score"] >= display_threshold for detection in detections)
    print(
        f"wrote {num_images} images and {len(detections)} detections "
        f"({num_drawn} drawn) to {output}"
    )
