"""The version, in one line (CHANGELOG.md's newest heading says the same), and the project's URL."""

__version__ = "0.5.0"
URL = "https://github.com/ssd-keras/ssd_keras"
