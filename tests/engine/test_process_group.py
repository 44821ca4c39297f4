"""Processes that find each other, wait for each other, and end together. No model is needed."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssd_keras.engine.distributed.process_group import gather, host_and_port

ROOT = Path(__file__).resolve().parents[2]
CARD = {"recipe": "3f2a"}


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def gathered(address, size, cards=None, welcome=None, seconds=60.0):
    """The teams, or what they raised, of all processes, each in a thread here."""

    def one(index):
        card = cards[index] if cards else CARD
        try:
            return gather(address, size, index, card, welcome if index == 0 else None, seconds)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_nobody_goes_on_before_all_have_come(address):
    teams = gathered(address, 3, welcome={"epoch": 7})
    assert [team.welcome for team in teams] == [{"epoch": 7}] * 3
    order = []

    def work(team):
        with team.work():
            order.append("before")
            time.sleep(0.2 * team.index)
            team.meet("epoch 8" if team.index == 0 else None)
            order.append("after")

    threads = [threading.Thread(target=work, args=(team,)) for team in teams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert order == ["before"] * 3 + ["after"] * 3
    assert [team.place for team in teams] == ["epoch 8"] * 3


def test_those_who_disagree_are_refused_and_may_come_again(address):
    cards = [CARD, {"recipe": "9bc1"}]
    found = gathered(address, 2, cards, seconds=2)
    assert found[1] == (
        "process 1 and process 0 do not agree on the recipe (9bc1 and 3f2a); start all of them "
        "with the same arguments but --process-index."
    )
    # Process 0 waited on for the right one.
    assert found[0] == (
        f"process 1 of 2 did not come to {address} within 2 s; start all of them with the same "
        "arguments but --process-index."
    )


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_two_of_the_same_index(address, order):
    """The second is told. When the first has died, one takes its place, whoever comes next."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gather, address, 3, 0, CARD, None, 60)
        message = r"^there is a process 1 of 3 already; give each its own --process-index\.$"
        with said(address, hello(1, 3)), pytest.raises(ValueError, match=message):
            gather(address, 3, 1, CARD, seconds=60)  # so the one before is in
        second = pool.submit(gather, address, 3, order[0], CARD, None, 60)
        time.sleep(0.3)
        third = gather(address, 3, order[1], CARD, seconds=60)
        teams = [first.result(), second.result(), third]
        assert [team.index for team in teams] == [0, *order]
        for team in teams:
            team.close()


def hello(index, size):
    """What a process says first."""
    line = json.dumps({"index": index, "card": {"number of processes": size, **CARD}})
    return line.encode() + b"\n"


def said(address, text):
    """A connection to process 0, as soon as it listens, over which a text has gone."""
    for _ in range(600):
        try:
            connection = socket.create_connection(host_and_port(address))
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            connection.sendall(text)
            return connection
    raise TimeoutError(address)


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"index": [1], "card": {"number of processes": 2}}\n',
        b'{"index": 1, "card": "number of processes"}\n',
        hello(2, 2),
    ],
)
def test_a_stranger_at_the_port_does_no_harm(address, text):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gather, address, 2, 0, CARD, None, 60)
        with said(address, text):
            second = gather(address, 2, 1, CARD, "not heard", seconds=60)
        assert (first.result().index, second.index) == (0, 1) and second.welcome is None
        first.result().close()
        second.close()


def test_no_coordinator(address):
    message = (
        rf"^no coordinator answers at {address} within 1 s \(Connection refused\); start process "
        r"0 there, or correct address and port\.$"
    )
    with pytest.raises(ValueError, match=message):
        gather(address, 2, 1, CARD, seconds=1)


def test_process_0_elsewhere_or_at_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        message = r"^process 0 cannot listen at .* \(Address already in use\); name an address of"
        with pytest.raises(ValueError, match=message):
            gather(taken, 2, 0, CARD, seconds=1)


@pytest.mark.parametrize("address", ["somewhere", ":7890", "host:", "host:x", "host:70000"])
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match=r"must be HOST:PORT of process 0, for example 10\.0"):
        host_and_port(address)


MEMBER = """
import sys, time
from ssd_keras.engine.distributed import process_group as team
team.BEAT, team.SILENCE = 0.2, 5.0
index, how = int(sys.argv[2]), sys.argv[3]
with team.gather(sys.argv[1], 3, index, {}, seconds=60).work() as _:
    print("there", flush=True)
    if how == "fail":
        time.sleep(1)
        raise ValueError("the loss became nan")
    time.sleep(60)
"""


def end_one(address, index, how):
    """Ends one of three processes; exit status, standard error and seconds of all."""
    words = ["fail" if (number, how) == (index, "fail") else "" for number in range(3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, address, str(number), words[number]],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "there\n"
        if how != "fail":
            processes[index].send_signal(how)
        others = [process for process in processes if process is not processes[index]]
        ends = [(process.communicate(timeout=50)[1], process.returncode) for process in others]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return ends


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (signal.SIGKILL, r"it was killed, or its host is gone"),
        (signal.SIGSTOP, r"it has not answered for 5 s"),
        ("fail", r"the loss became nan"),
    ],
)
def test_the_end_of_one_is_the_end_of_all(address, index, how, reason):
    line = (
        rf"^ssd-keras: process {index} of 3 ended \({reason}\), so all of them stop; start all of "
        r"them again with --resume: the training goes on from the start\.\n$"
    )
    for text, status in end_one(address, index, how):
        assert status == 2
        assert re.match(line, text), text
