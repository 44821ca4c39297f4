"""Processes that train together: they find each other, wait for each other, and end together.

Process 0 listens at the coordinator's address; each other one keeps one connection to it, over
which lines of JSON go, an empty one every few seconds as a sign of life. A process that ends, or
falls silent, ends all of them with one line that names it. Collective operations alone would leave
the others hanging, or ending in messages of compiled code.
"""

import atexit
import contextlib
import json
import os
import queue
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

BEAT = 2.0
"""Seconds between signs of life."""
SILENCE = 20.0
"""Seconds without one after which a process counts as lost."""


class Team:
    """The connections of this process to the others; `gather` makes them."""

    def __init__(
        self, index: int, size: int, connections: Mapping[int, socket.socket], welcome: Any
    ) -> None:
        self.index = index
        self.size = size
        self.welcome = welcome
        self.place = "the start"
        self._connections = dict(connections)
        self._marks = {number: queue.SimpleQueue[Any]() for number in connections}
        self._is_over = threading.Event()
        self._sending, self._ending = threading.Lock(), threading.Lock()

    def meet(self, place: str | None = None, is_last: bool = False) -> None:
        """Waits until every process has come here."""
        if self.index == 0:
            for marks in self._marks.values():
                marks.get()
            if is_last:
                self._is_over.set()
            self._send({"mark": place, "is_last": is_last})
        else:
            self._send({"mark": None})
            place = self._marks[0].get()
        self.place = place or self.place

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Around what the processes do together: they leave it together, or all of them end."""
        for number in self._connections:
            threading.Thread(target=self._listen, args=(number,), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            yield
            self.meet(is_last=True)
        except BaseException as error:
            if isinstance(error, RuntimeError):
                # Likely the echo of another one's end, which ends this one within that time.
                time.sleep(SILENCE + 2 * BEAT)
            reason = " ".join(str(error).split()) or type(error).__name__
            self._send({"lost": self.index, "reason": reason})
            # At its end JAX would wait for the others, who are gone, and abort.
            atexit.register(_end_at_once)
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Leaves the others; `work` does it at its end."""
        self._is_over.set()
        for connection in self._connections.values():
            connection.close()

    def _listen(self, number: int) -> None:
        """Reads what one other process says until one of them leaves."""
        connection = self._connections[number]
        connection.settimeout(SILENCE)
        reason = "it was killed, or its host is gone"
        try:
            for line in connection.makefile("rb"):
                message = json.loads(line) if line.strip() else {}
                if message.get("is_last"):
                    self._is_over.set()
                if "mark" in message:
                    self._marks[number].put(message["mark"])
                if "lost" in message:
                    number, reason = message["lost"], message["reason"]
                    break
        except TimeoutError:
            reason = f"it has not answered for {SILENCE:g} s"
        except (OSError, ValueError):
            pass
        self._end(number, reason)

    def _beat(self) -> None:
        while not self._is_over.wait(BEAT):
            self._send({})

    def _send(self, message: dict) -> None:
        line = (json.dumps(message) if message else "").encode() + b"\n"
        with self._sending:
            for connection in self._connections.values():
                with contextlib.suppress(OSError):  # who listens to that one notices it
                    connection.sendall(line)

    def _end(self, number: int, reason: str) -> None:
        """Ends this process, and process 0 the others, because one is lost."""
        with self._ending:
            if self._is_over.is_set():
                return
            if self.index == 0:
                self._send({"lost": number, "reason": reason})
            print(
                f"ssd-keras: process {number} of {self.size} ended ({reason}), so all of them "
                "stop; start all of them again with --resume: the training goes on from "
                f"{self.place}.",
                file=sys.stderr,
                flush=True,
            )
            # The main thread may be deep in an operation that waits for the lost one forever.
            # Every file is whole or absent at any moment, as for any kill.
            os._exit(2)


def _end_at_once() -> None:
    """Ends the process after its group failed, without what Python runs at an exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def gather(
    address: str,
    size: int,
    index: int,
    card: Mapping[str, Any],
    welcome: Any = None,
    seconds: float = 300.0,
) -> Team:
    """Finds the other processes."""
    deadline = time.monotonic() + seconds
    card = {"number of processes": size, **card}
    if index == 0:
        return _wait_for_all(address, size, card, welcome, deadline, seconds)
    with contextlib.ExitStack() as unless_well:
        connection = unless_well.enter_context(_reach(address, deadline, seconds))
        _send_line(connection, {"index": index, "card": card})
        answer = _read_line(connection, deadline)
        if answer is None:
            raise ValueError(
                f"process 0 at {address} ended, or did not say within {seconds:g} s that all "
                f"{size} processes are there; start all of them."
            )
        if "refused" in answer:
            raise ValueError(answer["refused"])
        unless_well.pop_all()
    return Team(index, size, {0: connection}, answer["welcome"])


def host_and_port(address: str) -> tuple[str, int]:
    """Takes an address apart."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(
            f"coordinator={address!r} must be HOST:PORT of process 0, for example 10.0.0.1:7890."
        )
    return host.strip("[]"), int(port)


def _wait_for_all(
    address: str, size: int, card: Any, welcome: Any, deadline: float, seconds: float
) -> Any:
    """Process 0: listens until every other one has come with the same card."""
    host, port = host_and_port(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"process 0 cannot listen at {address} ({_reason(error)}); name an address "
            "of this host, and a free port."
        ) from error
    connections: dict[int, socket.socket] = {}
    with server, contextlib.ExitStack() as unless_well:
        while len(connections := _present(connections)) < size - 1:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                missing = sorted(set(range(1, size)) - set(connections))
                raise ValueError(
                    f"process {', '.join(map(str, missing))} of {size} did not come to {address} "
                    f"within {seconds:g} s; start all of them with the same arguments but "
                    "--process-index."
                ) from None
            unless_well.enter_context(connection)
            hello = _read_line(connection, time.monotonic() + BEAT)
            connections = _present(connections)  # somebody may have left while this one came
            if not _is_of_a_team(hello, size):
                connection.close()
            elif refusal := _refusal(hello, card, size, connections):
                _send_line(connection, {"refused": refusal})
                connection.close()
            else:
                connections[hello["index"]] = connection
        for connection in connections.values():
            _send_line(connection, {"welcome": welcome})
        unless_well.pop_all()
    return Team(0, size, connections, welcome)


def _is_of_a_team(hello: Any, size: int) -> bool:
    """Whether a first line is one of `gather`, not a stranger's."""
    return (
        hello is not None
        and hello.get("index") in range(1, size)
        and isinstance(hello.get("card"), dict)
    )


def _refusal(hello: Any, card: Any, size: int, connections: Mapping[int, Any]) -> str | None:
    """Why a process cannot take part, or nothing."""
    index = hello["index"]
    for name, value in card.items():
        if hello["card"].get(name) != value:
            return (
                f"process {index} and process 0 do not agree on the {name} "
                f"({hello['card'].get(name)} and {value}); start all of them with the same "
                "arguments but --process-index."
            )
    if index in connections:
        return f"there is a process {index} of {size} already; give each its own --process-index."
    return None


def _present(connections: Mapping[int, socket.socket]) -> dict[int, socket.socket]:
    """Those whose other end is open: before the welcome it has nothing to say, but may leave."""
    left, _, _ = select.select(list(connections.values()), [], [], 0)
    for connection in left:
        connection.close()
    return {index: each for index, each in connections.items() if each not in left}


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _reach(address: str, deadline: float, seconds: float) -> socket.socket:
    """A connection to process 0, which may start later than this one."""
    host, port = host_and_port(address)
    while True:
        try:
            return socket.create_connection((host, port), max(0.01, deadline - time.monotonic()))
        except OSError as error:
            if time.monotonic() + 0.5 > deadline:
                raise ValueError(
                    f"no coordinator answers at {address} within {seconds:g} s "
                    f"({_reason(error)}); start process 0 there, or correct address and "
                    "port."
                ) from error
        time.sleep(0.2)


def _send_line(connection: socket.socket, message: Any) -> None:
    with contextlib.suppress(OSError):  # then it is missed when it should answer
        connection.sendall(json.dumps(message).encode() + b"\n")


def _read_line(connection: socket.socket, deadline: float) -> Any:
    """One message as a dictionary; None if none comes in time."""
    data = b""
    try:
        while not data.endswith(b"\n"):
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            byte = connection.recv(1)  # what follows the line is read by others
            if not byte:
                return None
            data += byte
        message = json.loads(data)
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None
