"""The main job in one go, on generated images: look, train, evaluate, draw, export.

    make demo

Everything that is written goes to ``runs/demo``; the numbers are printed at the end. The steps
are the commands that a user would type.
"""

import json
import os
import shutil
import sys
import time

from ssd_keras.cli import main as ssd_keras

OUTPUT = os.path.join("runs", "demo")
RECIPE = "shapes"
GALLERY_IMAGES = 16
EXPECTED_AP50 = 0.90


def main() -> int:
    os.environ.setdefault("SSD_KERAS_PROGRESS", "1")
    started = time.perf_counter()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    run, numbers = os.path.join(OUTPUT, "run"), os.path.join(OUTPUT, "metrics.json")
    served, phone = (os.path.join(OUTPUT, name) for name in ("detector/1", "detector.tflite"))
    phone_numbers = os.path.join(OUTPUT, "metrics_tflite.json")
    images, drawn = os.path.join(OUTPUT, "images"), os.path.join(OUTPUT, "detections")

    sheet = os.path.join(OUTPUT, "training_images.png")
    step("images as training sees them", "data", "show", "synthetic:shapes@train[:40]",
         "--recipe", RECIPE, "--output", sheet)  # fmt: skip
    step("training", "train", "--recipe", RECIPE, "--train-data", "synthetic:shapes@train",
         "--validation-data", "synthetic:shapes@val", "--output", run)  # fmt: skip
    step("evaluation on images that no choice was made on", "evaluate", run,
         "--data", "synthetic:shapes@test", "--json", numbers)  # fmt: skip
    write_images(images)
    step("prediction", "predict", run, images, "--output", drawn)
    gallery = write_gallery(drawn)
    step("export for a server", "export", run, "--format", "saved_model", "--output", served)
    step("export for a phone", "export", run, "--format", "tflite", "--quantize", "int8",
         "--calibration-data", "synthetic:shapes@train[:200]", "--output", phone)  # fmt: skip
    step("the phone's file on the test images", "evaluate", phone,
         "--data", "synthetic:shapes@test", "--json", phone_numbers)  # fmt: skip

    coco, phone_coco = read_coco(numbers), read_coco(phone_numbers)
    minutes = (time.perf_counter() - started) / 60
    print(f"\ntest images: AP {coco['AP']:.3f}, AP50 {coco['AP50']:.3f}; {minutes:.1f} minutes")
    print(f"the same as int8 TFLite: AP {phone_coco['AP']:.3f}, AP50 {phone_coco['AP50']:.3f}")
    print(f"look at {sheet}, {os.path.join(run, 'curves.png')} and {gallery}")
    print(f"exports: {served} and {phone}; what runs them: export/README.md")
    if coco["AP50"] < EXPECTED_AP50:
        print(f"AP50 is below the expected {EXPECTED_AP50}", file=sys.stderr)
        return 1
    return 0


def read_coco(path: str) -> dict:
    """COCO's numbers out of a file of `ssd-keras evaluate`."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)["coco"]


def step(title: str, *arguments: str) -> None:
    """Shows a command and runs it; the demo ends where one fails."""
    print(f"\n== {title}\n$ ssd-keras {' '.join(arguments)}", flush=True)
    status = ssd_keras(arguments)
    if status:
        sys.exit(status)


def write_images(directory: str) -> None:
    """Writes generated test images as files, as a user has them."""
    from ssd_keras import load_data

    os.makedirs(directory, exist_ok=True)
    for example in load_data(f"synthetic:shapes@test[:{GALLERY_IMAGES}]").examples:
        data = example.read()
        extension = "jpg" if data.startswith(b"\xff\xd8") else "png"
        with open(os.path.join(directory, f"{example.image_id}.{extension}"), "wb") as file:
            file.write(data)


def write_gallery(directory: str) -> str:
    """One sheet of all annotated images."""
    from ssd_keras import contact_sheet
    from ssd_keras.core.images import read_image
    from ssd_keras.drawing.draw import save_image
    from ssd_keras.engine.image_paths import find_images

    path = os.path.join(OUTPUT, "gallery.png")
    images = [read_image(file) for file in find_images([directory])]
    save_image(contact_sheet(images, columns=4, cell_size=(280, 280)), path)
    return path


if __name__ == "__main__":
    sys.exit(main())
