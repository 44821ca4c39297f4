"""What the parent of a training says when JAX ends the child; the texts are JAX's own."""

import json
import signal

import pytest

from ssd_keras.cli.child_process import _judge

FATAL = (
    "F1130 13:33:27.772824 8119 client.h:80] Terminating process because the JAX distributed "
    "service detected fatal errors. This most likely indicates that another task died; see the "
    "other task logs for more details. absl::Status: "
)
UNHEALTHY = FATAL + (
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n{}\n"
    "The tasks have crashed. Check the task logs for an earlier error, or scheduler events.\n"
    "RPC: /xla.coordination.CoordinationService/PollForError\n*** Check failure stack trace: ***\n"
)
LEADER = FATAL + (
    "UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was "
    "preempted/died/restarted unexpectedly or this task is experiencing network issues."
)
LATE = FATAL + "DEADLINE_EXCEEDED: Deadline Exceeded\n\nRPC: /xla.coordination.X/RegisterTask\n"
ABORT = -signal.SIGABRT


def say(tmp_path, capsys, status, messages, state=None, index=0, number=4):
    if state is not None:
        (tmp_path / "state.json").write_text(json.dumps(state))
    status = _judge(status, messages, str(tmp_path), index, number)
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("messages", "lost"),
    [
        (UNHEALTHY.format("1"), "process 1 of 4"),
        (UNHEALTHY.format("1, 3"), "process 1, 3 of 4"),
        (UNHEALTHY.format("/job:jax_worker/replica:0/task:12"), "process 12 of 4"),
        (LEADER, "process 0 of 4"),
        (FATAL + "UNKNOWN", "another process of 4"),
    ],
)
def test_a_lost_process_is_named(tmp_path, capsys, messages, lost):
    state = {"epoch": 3, "step": 2}
    assert say(tmp_path, capsys, ABORT, messages, state) == (
        75,
        f"ssd-keras: {lost} ended or its host does not answer, so all of them stop; start all of "
        "them again with --resume: the training goes on from epoch 3, step 2.\n",
    )
    assert not (tmp_path / "jax-0.log").exists()  # the folder holds no training


def test_the_messages_of_jax_stay_in_the_run(tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text("")
    status, line = say(tmp_path, capsys, ABORT, LEADER, index=2)
    assert status == 75 and line.endswith("the training goes on from the start.\n")
    assert (tmp_path / "jax-2.log").read_text() == LEADER


@pytest.mark.parametrize("status", [0, 2, 75])
def test_a_child_that_has_spoken_itself(tmp_path, capsys, status):
    assert say(tmp_path, capsys, status, LEADER) == (status, "")


def test_a_killed_child(tmp_path, capsys):
    status, line = say(tmp_path, capsys, -signal.SIGKILL, "", {"epoch": 1}, index=3)
    assert status == 75
    assert line.startswith("ssd-keras: process 3 of 4 was ended by SIGKILL, so all of them stop;")


def test_processes_that_never_came(tmp_path, capsys):
    status, line = say(tmp_path, capsys, ABORT, LATE, index=1)
    assert status == 75
    assert line.startswith("ssd-keras: process 1 of 4 did not find all the others in time; start")


@pytest.mark.parametrize("status", [-signal.SIGSEGV, ABORT])
def test_another_crash_keeps_its_messages(tmp_path, capsys, status):
    assert say(tmp_path, capsys, status, "Segmentation fault\n") == (
        2,
        f"ssd-keras: process 0 of 4 ended by signal {-status}; its last messages:\n"
        "Segmentation fault\n\n",
    )
