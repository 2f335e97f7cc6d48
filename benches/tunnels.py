#!/usr/bin/env python3
"""Opens tunnels and leaves them idle: resident bytes of the server for each.

    tunnels.py PID PORT TARGET COUNT CA CERT KEY [--old]

TARGET is `host:port` of m0v's meter port (the device's TLS goes through the tunnel, and one reading), or `outside`: a listener of
this script, which `[tunnel] allow` must name as 127.0.0.1:20519. With --old the gateway's hello names no groups, so that
s2n-tls serves it ([tls] compat = "rsa-kx").
"""
import socket
import ssl
import sys
import time

OUTSIDE = ("127.0.0.1", 20519)
WARM_UP = 50


def context(ca, old=False):
    tls = ssl.create_default_context(cafile=ca)
    if old:
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers("AES128-GCM-SHA256")
    return tls


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


class Inner:
    """A device's TLS within the tunnel."""

    def __init__(self, tunnel, tls):
        self.tunnel, self.read, self.write = tunnel, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.read, self.write, server_hostname="localhost")

    def until_done(self, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.send()
                self.read.write(self.tunnel.recv(16384))
            finally:
                self.send()

    def send(self):
        if self.write.pending:
            self.tunnel.sendall(self.write.read())


def open_tunnel(port, target, outer, inner, listener):
    raw = socket.create_connection(("127.0.0.1", port), timeout=30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tunnel = outer.wrap_socket(raw, server_hostname="localhost")
    tunnel.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += tunnel.recv(1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    if listener:
        far, _ = listener.accept()
        tunnel.sendall(b"x" * 100)
        far.sendall(far.recv(200))
        assert tunnel.recv(200) == b"x" * 100
        return tunnel, far
    device = Inner(tunnel, inner)
    device.until_done(device.tls.do_handshake)
    device.until_done(lambda: device.tls.write(b'{"id":1,"status":true}\n'))
    reply = device.until_done(lambda: device.tls.read(200))
    assert reply.endswith(b"\n"), reply
    return tunnel, device


def main():
    pid, port, target, count, ca, cert, key, *old = sys.argv[1:]
    outer, inner = context(ca, bool(old)), context(ca)
    outer.load_cert_chain(cert, key)
    listener = None
    if target == "outside":
        listener, target = socket.create_server(OUTSIDE, backlog=16), "%s:%d" % OUTSIDE

    def open_some(number):
        return [open_tunnel(int(port), target, outer, inner, listener) for _ in range(number)]

    for ends in open_some(WARM_UP):
        ends[0].close()
    time.sleep(1)
    before = resident(pid)
    tunnels = open_some(int(count))
    time.sleep(2)
    print((resident(pid) - before) // len(tunnels))


main()
