"""Addresses of programs in a network: HOST:PORT."""

import os
import socket


def split_address(address: str) -> tuple[str, int]:
    """Returns both parts of "HOST:PORT"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not an address; expected HOST:PORT, such as host1:5050.")
    return host, int(port)


def check_free(port: int) -> None:
    """Raises ValueError if a port of this host is taken."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise ValueError(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}); choose another."
        ) from error


def address_towards(address: str = "192.0.2.1:9") -> str:
    """Returns the address of this host on the way to another; by default, to other networks."""
    host, port = split_address(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        try:
            connection.connect((host, port))  # of a datagram's socket: nothing is sent
        except OSError:
            return "localhost"
        return connection.getsockname()[0]
