#!/usr/bin/env python3
"""Takes one connection, prints the TLS records of its ClientHello in hex, and closes.

    record_hello.py 24433 > tests/hellos/NAME.hex &
    openssl s_client -connect 127.0.0.1:24433
"""

import socket
import sys


def main():
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            data = b""
            while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
                part = connection.recv(65536)
                if not part:
                    break
                data += part
            print(data.hex())


if __name__ == "__main__":
    main()
