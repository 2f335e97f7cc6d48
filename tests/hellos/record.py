#!/usr/bin/env python3
"""Records a client's ClientHello: the raw TLS record(s), as one line of hex.

    record.py NAME.hex -- COMMAND ...

Listens on a free port of 127.0.0.1, runs COMMAND with every {port} in it replaced, keeps the record(s) that hold the first
handshake message, and hangs up. The command is expected to fail: nobody answers it.
"""
import pathlib
import socket
import subprocess
import sys

DEADLINE_S = 10
MAX_HELLO = 65536
HANDSHAKE = 22
CLIENT_HELLO = 1


def read_exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        step = peer.recv(count - len(data))
        if not step:
            raise ValueError(f"the client hung up after {len(data)} of {count} bytes")
        data += step
    return data


def read_hello(peer: socket.socket) -> bytes:
    """The records up to and with the one that completes the ClientHello."""
    records, message = b"", b""
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        header = read_exactly(peer, 5)
        if header[0] != HANDSHAKE:
            raise ValueError(f"record type {header[0]} is no handshake")
        body = read_exactly(peer, int.from_bytes(header[3:5], "big"))
        records += header + body
        message += body
        if len(message) > MAX_HELLO:
            raise ValueError("the ClientHello is too long")
    if message[0] != CLIENT_HELLO:
        raise ValueError(f"handshake message {message[0]} is no ClientHello")
    return records


def record(command: list[str]) -> bytes:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        port = str(listener.getsockname()[1])
        client = subprocess.Popen(
            [part.replace("{port}", port) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(DEADLINE_S)
                return read_hello(peer)
        finally:
            client.kill()
            client.wait()


def main() -> None:
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit(__doc__)
    pathlib.Path(sys.argv[1]).write_text(record(sys.argv[3:]).hex() + "\n", encoding="ascii")


main()
