"""Output whose reader leaves, or whose disk is full."""

import os
import sys

import pytest

from ssd_keras.core.terminal import lasting_output


@pytest.fixture
def closed_pipe(monkeypatch):
    """Makes a pipe that nobody reads the standard output; returns nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield


def test_a_block_goes_on_when_its_reader_has_left(closed_pipe):
    done = []
    with lasting_output():
        print("first", flush=True)
        print("x" * 100_000)  # more than a buffer
        done.append(True)
        print("last")
    assert done
    sys.stdout.flush()  # as Python does at its end


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="NOT TESTED: there is no /dev/full")
def test_output_that_cannot_be_written_is_one_line(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        message = r"^the output cannot be written \(No space"
        with pytest.raises(ValueError, match=message), lasting_output():
            print("x" * 100_000)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # so that closing it works
