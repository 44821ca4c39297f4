"""The model card of a repository: README.md, which Hugging Face reads and displays."""

import os
import re
import tempfile

import keras

from ssd_keras.core.display_thresholds import thresholds_line
from ssd_keras.core.hub import upload_address, upload_folder
from ssd_keras.core.origin import origin_lines
from ssd_keras.version import URL, __version__

PAPER = "https://arxiv.org/abs/1512.02325"
# Of the licences' SPDX names those that the hub knows, there in small letters.
LICENCES = (
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0",
    "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-3.0", "GPL-3.0", "AGPL-3.0", "LGPL-3.0", "Unlicense",
)  # fmt: skip
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def model_card(model: keras.Model, address: str) -> str:
    """Returns the text of a model's card for a repository, as Markdown with a YAML header."""
    height, width = model.image_size
    rows = {
        "input": f"{height}x{width} pixels, RGB; `detect` resizes images of any size",
        "classes": f"{len(model.class_names)}: {_plain(', '.join(model.class_names))}",
        "default boxes": f"{len(model.default_box_array)}",
        "parameters": f"{model.count_params():,}",
        "operating point": _plain(thresholds_line(model.display_threshold, model.class_names)),
    }
    return "\n".join(
        [
            *_header(model),
            f"# {_plain(address.rpartition('/')[2])}",
            "",
            "An object detector: a Single Shot MultiBox Detector "
            f"(SSD, [Liu et al., 2016]({PAPER})) in Keras, made with [ssd_keras]({URL}).",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            "## Use",
            "",
            "Install it with `pip install 'ssd_keras[hub]'`, then:",
            "",
            "```python",
            "from ssd_keras import SSD",
            f'model = SSD.from_preset("{address}")',
            'model.detect("photo.jpg").show()',
            "```",
            "",
            "## Origin",
            "",
            *(f"- {_plain(line)}" for line in origin_lines(model.origin)),
            "",
        ]
    )


def save_to_hub(model: keras.Model, text: str) -> None:
    """Writes a model and its card into a repository of Hugging Face, in one commit."""
    address = upload_address(text)
    with tempfile.TemporaryDirectory() as folder:
        keras.Model.save(model, folder, zipped=False)
        with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as file:
            file.write(model_card(model, f"{address.hub}{address.model}"))
        web_address = upload_folder(folder, address, f"Save a model with ssd_keras {__version__}")
    print(f"saved to {web_address}; load it with SSD.from_preset({address.text!r})")


def _header(model: keras.Model) -> list[str]:
    """Returns the YAML header; its licence only where all of data and weights have the same."""
    licences = model.origin.licences if model.origin else ()
    known = [f"license: {name.lower()}" for name in licences if name in LICENCES]
    return [
        "---",
        "library_name: keras",
        "pipeline_tag: object-detection",
        *(known if len(licences) == 1 else []),
        "tags:",
        "- object-detection",
        "- ssd",
        "- ssd_keras",
        "---",
        "",
    ]


def _plain(text: str) -> str:
    """Returns a text, which may come out of files, without meaning in Markdown."""
    return MARKDOWN.sub(r"\\\1", text)
