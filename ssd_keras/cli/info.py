"""`ssd-keras info`."""

import argparse

from ssd_keras.cli.arguments import DETECTOR_HELP
from ssd_keras.core.terminal import start_tensorflow

HELP = "describe a model, or list the presets or export formats"


WORDS = "the word presets or formats"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=f"{DETECTOR_HELP}, a preset's name, or {WORDS}")
    parser.set_defaults(run=run)


def run(model: str) -> None:
    from ssd_keras.exporters.formats import FORMATS
    from ssd_keras.presets import PRESETS

    lists = {"presets": PRESETS, "formats": FORMATS}
    if model in lists:
        print(*lists[model].values(), sep="\n")
        return
    if model.endswith(".py"):
        raise ValueError(
            f"{model!r} is a recipe, not a model; pass a RUN directory of `ssd-keras train`, a "
            ".keras file, what `ssd-keras export` wrote, or a preset's name."
        )
    start_tensorflow()
    from ssd_keras.engine.model_summary import model_summary

    print(model_summary(model))
