"""`ssd-keras --version`."""

import argparse
import contextlib
from typing import Any

from ssd_keras.version import __version__

PACKAGES = {"keras": "Keras", "tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


class VersionAction(argparse.Action):
    """Prints the versions that a report of a fault needs; imports none of the packages."""

    def __init__(self, option_strings: list[str], dest: str, **_: Any) -> None:
        super().__init__(
            option_strings,
            argparse.SUPPRESS,
            nargs=0,
            default=argparse.SUPPRESS,
            help="print the versions of ssd_keras, Keras, its backends and Python",
        )

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(version_line())
        parser.exit()


def version_line() -> str:
    """Returns the versions of this package, of Keras, of the backends there are, of Python."""
    import platform  # these two take 30 ms, which each command would wait
    from importlib import metadata

    versions = []
    for name, title in PACKAGES.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{title} {metadata.version(name)}")
    versions.append(f"Python {platform.python_version()}")
    return f"ssd_keras {__version__} ({', '.join(versions)})"
