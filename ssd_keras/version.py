"""The version of the package, in one line; CHANGELOG.md's newest heading says the same."""

__version__ = "0.5.0"
