"""The version, in one line, which the changelog's newest heading equals, and the project's URL."""

__version__ = "0.6.0"
URL = "https://github.com/ssd-keras/ssd_keras"
