#!/usr/bin/env python3
"""Lists what a TLS server negotiates with a hello that names no groups, as the CC3220 sends it.

    groupless.py HOST:PORT [--no-extensions]

One `VERSION SUITE GROUP` a line, sorted; GROUP is the curve of the ServerKeyExchange, or `-`. One connection for each version
from TLS 1.0 to 1.2 and each suite known here, offered alone, so that nothing hides behind the server's preference. The hello
has signature_algorithms (TLS 1.2), or nothing at all with --no-extensions. Standard library only: the probe must not share a
stack with what it judges.
"""
import os
import socket
import sys

DEADLINE_S = 5
HANDSHAKE, ALERT = 22, 21
SERVER_HELLO, SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE = 2, 12, 14
VERSIONS = {0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2"}
GROUPS = {21: "secp224r1", 22: "secp256k1", 23: "secp256r1", 24: "secp384r1", 25: "secp521r1", 29: "x25519", 30: "x448"}
SIGNATURE_ALGORITHMS = bytes.fromhex("000d0012001006010401050102010603040305030203")

# Code points and names as IANA registers them.
SUITES = {
    0x0000: "TLS_NULL_WITH_NULL_NULL",
    0x0001: "TLS_RSA_WITH_NULL_MD5",
    0x0002: "TLS_RSA_WITH_NULL_SHA",
    0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
    0x0004: "TLS_RSA_WITH_RC4_128_MD5",
    0x0005: "TLS_RSA_WITH_RC4_128_SHA",
    0x0006: "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5",
    0x0007: "TLS_RSA_WITH_IDEA_CBC_SHA",
    0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0009: "TLS_RSA_WITH_DES_CBC_SHA",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
    0x0015: "TLS_DHE_RSA_WITH_DES_CBC_SHA",
    0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0x0017: "TLS_DH_anon_EXPORT_WITH_RC4_40_MD5",
    0x0018: "TLS_DH_anon_WITH_RC4_128_MD5",
    0x0019: "TLS_DH_anon_EXPORT_WITH_DES40_CBC_SHA",
    0x001A: "TLS_DH_anon_WITH_DES_CBC_SHA",
    0x001B: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
    0x002F: "TLS_RSA_WITH_AES_128_CBC_SHA",
    0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
    0x0035: "TLS_RSA_WITH_AES_256_CBC_SHA",
    0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
    0x003A: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
    0x003B: "TLS_RSA_WITH_NULL_SHA256",
    0x003C: "TLS_RSA_WITH_AES_128_CBC_SHA256",
    0x003D: "TLS_RSA_WITH_AES_256_CBC_SHA256",
    0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
    0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA",
    0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
    0x006B: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
    0x006C: "TLS_DH_anon_WITH_AES_128_CBC_SHA256",
    0x006D: "TLS_DH_anon_WITH_AES_256_CBC_SHA256",
    0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
    0x008C: "TLS_PSK_WITH_AES_128_CBC_SHA",
    0x0096: "TLS_RSA_WITH_SEED_CBC_SHA",
    0x009A: "TLS_DHE_RSA_WITH_SEED_CBC_SHA",
    0x009C: "TLS_RSA_WITH_AES_128_GCM_SHA256",
    0x009D: "TLS_RSA_WITH_AES_256_GCM_SHA384",
    0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
    0x00A6: "TLS_DH_anon_WITH_AES_128_GCM_SHA256",
    0x00A7: "TLS_DH_anon_WITH_AES_256_GCM_SHA384",
    0xC007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    0xC008: "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
    0xC009: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    0xC00A: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    0xC010: "TLS_ECDHE_RSA_WITH_NULL_SHA",
    0xC011: "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    0xC012: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    0xC013: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    0xC014: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    0xC015: "TLS_ECDH_anon_WITH_NULL_SHA",
    0xC016: "TLS_ECDH_anon_WITH_RC4_128_SHA",
    0xC017: "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA",
    0xC018: "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
    0xC019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
    0xC023: "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    0xC024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384",
    0xC027: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    0xC028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xC09C: "TLS_RSA_WITH_AES_128_CCM",
    0xC09D: "TLS_RSA_WITH_AES_256_CCM",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    0xCCAA: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}


def hello(version: int, suite: int, extensions: bytes) -> bytes:
    body = version.to_bytes(2, "big") + os.urandom(32) + b"\0" + b"\0\2" + suite.to_bytes(2, "big") + b"\1\0"
    if extensions:
        body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return bytes([HANDSHAKE]) + version.to_bytes(2, "big") + len(message).to_bytes(2, "big") + message


def messages(stream):
    """The handshake messages up to the first alert, other record, or end."""
    pending = b""
    while True:
        header = stream.read(5)
        if len(header) < 5 or header[0] != HANDSHAKE:
            return
        pending += stream.read(int.from_bytes(header[3:5], "big"))
        while len(pending) >= 4 and len(pending) >= 4 + int.from_bytes(pending[1:4], "big"):
            end = 4 + int.from_bytes(pending[1:4], "big")
            yield pending[0], pending[4:end]
            pending = pending[end:]


def probe(address, version: int, suite: int, extensions: bytes):
    """(version, suite, group) of the answer, or None when the server refuses."""
    chosen, group = None, "-"
    with socket.create_connection(address, DEADLINE_S) as connection, connection.makefile("rb") as stream:
        connection.sendall(hello(version, suite, extensions))
        try:
            for kind, body in messages(stream):
                if kind == SERVER_HELLO:
                    after_session = 35 + body[34]
                    chosen = int.from_bytes(body[:2], "big"), int.from_bytes(body[after_session : after_session + 2], "big")
                elif kind == SERVER_KEY_EXCHANGE and body[0] == 3:  # a named curve
                    code = int.from_bytes(body[1:3], "big")
                    group = GROUPS.get(code, f"0x{code:04x}")
                elif kind == SERVER_HELLO_DONE:
                    break
        except ConnectionResetError:
            pass  # a refusal, if no ServerHello came before
    return chosen and (*chosen, group)


def main() -> None:
    arguments = [a for a in sys.argv[1:] if a != "--no-extensions"]
    if len(arguments) != 1 or ":" not in arguments[0]:
        sys.exit(__doc__)
    host, port = arguments[0].rsplit(":", 1)
    found = set()
    for version in VERSIONS:
        bare = "--no-extensions" in sys.argv or version < 0x0303
        for suite in SUITES:
            answer = probe((host, int(port)), version, suite, b"" if bare else SIGNATURE_ALGORITHMS)
            if answer:
                version_name = VERSIONS.get(answer[0], f"0x{answer[0]:04x}")
                found.add(f"{version_name} {SUITES.get(answer[1], f'0x{answer[1]:04x}')} {answer[2]}")
    for line in sorted(found):
        print(line)


main()
