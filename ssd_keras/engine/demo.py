"""What `ssd-keras demo` does beside its commands: its folder, images, gallery and last lines."""

import json
import os
import shutil

from ssd_keras.core.files import check_writable, make_folder
from ssd_keras.data.sources import load_data
from ssd_keras.drawing.draw import save_image
from ssd_keras.drawing.sheet import contact_sheet
from ssd_keras.evaluation.detection_table import read_detections
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.outcome import LEGEND, draw_outcome, outcome_caption
from ssd_keras.version import URL

DATA = "synthetic:shapes"
GALLERY_DATA = f"{DATA}@test[:16]"
DISPLAY_THRESHOLD = 0.5
EXPECTED_AP50 = 0.93
MARK = "made_by_ssd_keras_demo.txt"
MARK_TEXT = "`ssd-keras demo` made this folder. When it runs again, it replaces what it wrote here."


class Demo:
    """The steps of the demonstration in one folder, on generated images."""

    def __init__(self, output: str) -> None:
        def path(name: str) -> str:
            return os.path.join(output, name)

        self.output = output
        self.mark = path(MARK)
        self.sheet, self.gallery = path("training_images.png"), path("gallery.png")
        self.run, self.report = path("run"), path("report")
        self.images, self.detected = path("images"), path("detected")
        self.served, self.phone = path("detector"), path("detector.tflite")
        self.metrics, self.phone_metrics = path("metrics.json"), path("metrics_tflite.json")

    def commands(self) -> list[tuple[str, list[str]]]:
        """Returns the title and the words of each command, as a user would type it."""
        recipe, test = ["--recipe", "shapes"], ["--data", f"{DATA}@test"]
        training = ["--train-data", f"{DATA}@train", "--validation-data", f"{DATA}@val"]
        served = ["--format", "saved_model", "--output", os.path.join(self.served, "1")]
        phone = ["--format", "tflite", "--quantize", "int8"]
        phone += ["--calibration-data", f"{DATA}@train[:200]", "--output", self.phone]
        return [
            (
                "images as training sees them",
                ["data", "show", f"{DATA}@train[:40]", *recipe, "--output", self.sheet],
            ),
            ("training", ["train", *recipe, *training, "--output", self.run]),
            (
                "evaluation on images that no choice was made on",
                ["evaluate", self.run, *test, "--json", self.metrics, "--plots", self.report],
            ),
            ("prediction", ["predict", self.run, self.images, "--output", self.detected]),
            ("export for a server", ["export", self.run, *served]),
            ("export for a phone", ["export", self.run, *phone]),
            (
                "the phone's file on the test images",
                ["evaluate", self.phone, *test, "--json", self.phone_metrics],
            ),
        ]

    def prepare(self) -> None:
        """Empties the folder of what an earlier demonstration wrote; writes the images.

        Raises ValueError for a folder with other files that no demonstration made.
        """
        check_writable(self.output, is_folder=True)
        is_taken = os.path.lexists(self.output) and (
            not os.path.isdir(self.output) or os.listdir(self.output)
        )
        if is_taken and not os.path.isfile(self.mark):
            raise ValueError(
                f"output {self.output!r} holds files that `ssd-keras demo` did not write; pass "
                "--output with another folder."
            )
        for path in set(vars(self).values()) - {self.output, self.mark}:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.remove(path)
        make_folder(self.images)
        with open(self.mark, "w", encoding="utf-8") as file:
            file.write(f"{MARK_TEXT}\n")
        for example in load_data(GALLERY_DATA):
            encoded = example.read()
            extension = "jpg" if encoded.startswith(b"\xff\xd8") else "png"
            with open(f"{self.images}/{example.image_id}.{extension}", "wb") as file:
                file.write(encoded)

    def write_gallery(self) -> None:
        """Writes a sheet of the images, with their objects beside what was detected and missed."""
        data = load_data(GALLERY_DATA)
        detections = read_detections(os.path.join(self.detected, "detections.json"), data)
        matches = match(data, detections)
        drawings = [
            draw_outcome(matches, index, example.read_image(), DISPLAY_THRESHOLD)
            for index, example in enumerate(data)
        ]
        captions = [outcome_caption(matches, i, DISPLAY_THRESHOLD) for i in range(len(data))]
        title = f"{LEGEND}, from a score of {DISPLAY_THRESHOLD:g} on"
        sheet = contact_sheet(drawings, cell_size=(280, 566), captions=captions, title=title)
        save_image(sheet, self.gallery)

    def closing_lines(self) -> list[str]:
        """Returns the numbers, what to look at, and what to do next."""
        coco, phone_coco = _coco(self.metrics), _coco(self.phone_metrics)
        report, curves = (
            os.path.join(self.report, "report.html"),
            os.path.join(self.run, "curves.png"),
        )
        return [
            f"test images: AP {coco['AP']:.3f}, AP50 {coco['AP50']:.3f}",
            f"the same as int8 TFLite: AP {phone_coco['AP']:.3f}, AP50 {phone_coco['AP50']:.3f}",
            "",
            "look at:",
            f"  {self.gallery}: detections in test images beside the objects, with mistakes",
            f"  {report}: every kind of mistake, to open in a browser",
            f"  {curves}: loss and AP of each epoch",
            f"  {self.sheet}: images and boxes as training sees them",
            f"  {os.path.join(self.served, '1')}: the detector for TensorFlow Serving",
            f"  {self.phone}: the detector for phones",
            f"  {URL}/blob/main/export/README.md: programs that run these two",
            "",
            "next, with images of your own (`ssd-keras info data` lists the kinds of data):",
            *(f"  ssd-keras {words}" for words in NEXT),
        ]

    def check(self) -> None:
        """Raises ValueError where the detector is worse than it should be."""
        if (found := _coco(self.metrics)["AP50"]) < EXPECTED_AP50:
            raise ValueError(
                f"the demo's detector has an AP50 of {found:.3f}; expected {EXPECTED_AP50:.3f} or "
                f"more; report it at {URL}/issues with the output of `ssd-keras --version`."
            )


NEXT = (
    "data check voc:ROOT@train voc:ROOT@val --recipe own_data --plots checked",
    "train --recipe own_data --train-data voc:ROOT@train --validation-data voc:ROOT@val "
    "--output runs/mine",
    "evaluate runs/mine --data voc:ROOT@val --plots report",
    "predict runs/mine FOLDER --output detected",
)


def _coco(path: str) -> dict[str, float]:
    """Returns COCO's numbers out of a file of `ssd-keras evaluate`."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)["coco"]
