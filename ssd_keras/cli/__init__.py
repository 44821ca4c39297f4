"""The command line `ssd-keras`: one file for each command."""

from ssd_keras.cli.parser import main as main
