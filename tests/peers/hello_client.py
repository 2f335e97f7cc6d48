#!/usr/bin/env python3
"""A TLS client that says exactly the ClientHello it is told to, then completes the handshake.

It stands in for devices: the suites and extensions on the wire are those given here, nothing is
added, and of the server's answer it takes only what such a device knows (P-256, RSA PKCS#1).

    hello_client.py 127.0.0.1 38981 --variant cc3220sf-1 --ca m0v-data/tls/ca.pem --line '{"id":1}'

prints what was negotiated and the reply to each line, as `key: value`. Exit 0 when all went
well, 1 when the handshake or a line failed; the reason is then printed as `error: …`.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.constants import CipherSuite, GroupName, HashAlgorithm, SignatureAlgorithm
from tlslite.errors import BaseTLSException, TLSLocalAlert, TLSRemoteAlert
from tlslite.extensions import TLSExtension
from tlslite.messages import ClientHello

# The order recorded from a CC3220SF.
CC3220SF = (
    "0005 0004 0035 0039 c014 c011 003c 003d c027 c023 c009 c00a 009c 009d 009e 009f "
    "c02f c030 c02b c02c cca9 cca8 ccaa"
)
# Its signature_algorithms: not legible in the capture, eight schemes by length, wolfSSL's order.
EIGHT_SCHEMES = "000d:0010 0603 0601 0503 0501 0403 0401 0203 0201"
P256_ONLY = "000a:0002 0017"
SESSION_TICKET = 35

# name: (suites, extensions)
VARIANTS = {
    "cc3220sf-1": (CC3220SF, [EIGHT_SCHEMES]),
    "cc3220sf-2": (CC3220SF, [EIGHT_SCHEMES, P256_ONLY]),
    "cc3220sf-3": (CC3220SF, []),
    "old-wolfssl-cbc": ("c014 c013 0035 002f", ["000d:0008 0403 0203 0401 0201"]),
    "rsa-kx-bare": ("0035", []),
    "rc4-only": ("0005 0004", [EIGHT_SCHEMES]),
    "3des-only": ("000a c012", [EIGHT_SCHEMES]),
    "tls10-bare": ("0035 002f", []),
}


# Of variants that do not speak TLS 1.2: the version they offer.
VERSIONS = {"tls10-bare": (3, 1)}


def parse_suites(text):
    return [int(word, 16) for word in text.replace(",", " ").split()]


def parse_extension(text):
    kind, _, content = text.partition(":")
    return int(kind, 16), bytearray.fromhex(content)


class HelloConnection(TLSConnection):
    """tlslite-ng's client with its ClientHello replaced by ours."""

    def say(self, version, suites, extensions, random, refuse=None, garble=False):
        self._hello = version, suites, extensions, random
        self._refuse = refuse
        self._garble = garble

    def build_hello(self):
        return build_hello(*self._hello)

    def _clientSendClientHello(self, *_args):
        hello = self.build_hello()
        yield from self._sendMsg(hello)
        yield hello

    def _clientGetKeyFromChain(self, *args, **keys):
        if self._refuse is not None:
            yield from self._sendError(self._refuse, "as told to")
        if self._garble:
            garble(self._hello[0], self.sock.socket)
        yield from super()._clientGetKeyFromChain(*args, **keys)


def garble(version, sock):
    """A premaster secret that nobody encrypted, and a Finished that does not decrypt."""
    def send(kind, body):
        sock.sendall(bytes([kind, *version]) + len(body).to_bytes(2, "big") + body)

    send(22, bytes([16, 0, 1, 2, 1, 0, 0]) + os.urandom(255))
    send(20, b"\x01")
    send(22, os.urandom(80))
    since = time.monotonic()
    try:
        while sock.recv(4096):
            pass
    except ConnectionError:
        pass
    raise ValueError(f"garbage was answered after {time.monotonic() - since:.3f} s")


def build_hello(version, suites, extensions, random):
    built = [TLSExtension(extType=kind).create(kind, content) for kind, content in extensions]
    hello = ClientHello()
    hello.create(version, bytearray(random), bytearray(), suites, extensions=built or None)
    return hello


def record(hello):
    body = hello.write()
    return bytes([22, *hello.client_version]) + len(body).to_bytes(2, "big") + bytes(body)


def device_settings(any_signature):
    settings = HandshakeSettings()
    settings.minVersion = (3, 1)
    settings.maxVersion = (3, 3)
    settings.eccCurves = ["secp256r1"]
    settings.keyShares = ["secp256r1"]
    settings.dhGroups = []
    settings.rsaSigHashes = ["sha512", "sha384", "sha256", "sha1"]
    settings.rsaSchemes = ["pss", "pkcs1"] if any_signature else ["pkcs1"]
    settings.more_sig_schemes = []
    return settings


def verify_chain(connection, ca, name):
    """tlslite-ng does not judge chains; openssl does."""
    chain = [cert.bytes for cert in connection.session.serverCertChain.x509List]
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for at, der in enumerate(chain):
            path = os.path.join(folder, f"{at}.pem")
            convert = ["openssl", "x509", "-inform", "der", "-out", path]
            subprocess.run(convert, input=bytes(der), check=True)
            paths.append(path)
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca]
        command += ["-verify_ip" if name[0].isdigit() else "-verify_hostname", name]
        for path in paths[1:]:
            command += ["-untrusted", path]
        done = subprocess.run(command + [paths[0]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError("the chain does not verify: " + " ".join(done.stderr.split()))
    print(f"chain: {len(chain)} certificates, verified")


def describe(connection):
    session = connection.session
    print(f"version: {connection.getVersionName()}")
    print(f"cipher: {CipherSuite.ietfNames.get(session.cipherSuite, hex(session.cipherSuite))}")
    if connection.ecdhCurve is not None:
        print(f"curve: {GroupName.toStr(connection.ecdhCurve)}")
    if connection.serverSigAlg is not None:
        hashed, signed = connection.serverSigAlg
        print(f"signature: {SignatureAlgorithm.toStr(signed)} {HashAlgorithm.toStr(hashed)}")


def read_line(connection):
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.read(1, 1)
        if not byte:
            raise ValueError("the server closed before its reply was whole")
        line += byte
    return line.decode().rstrip("\r\n")


def identity(options):
    """The certificate to present and the key to sign with; whether they fit is the caller's affair."""
    if not options.cert:
        return None, None
    with open(options.cert, encoding="ascii") as cert, open(options.key, encoding="ascii") as key:
        chain = X509CertChain()
        chain.parsePemList(cert.read())
        return chain, parsePEMKey(key.read(), private=True)


def talk(options, suites, extensions, session=None):
    with socket.create_connection((options.host, options.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = HelloConnection(sock)
        connection.say(options.version, suites, extensions, os.urandom(32), options.refuse, options.garble)
        connection.closeSocket = False
        connection.ignoreAbruptClose = False
        chain, key = identity(options)
        settings = device_settings(options.any_signature)
        connection.handshakeClientCert(chain, key, session=session, settings=settings)
        describe(connection)
        print(f"resumed: {'yes' if connection.resumed else 'no'}")
        if options.ca and not connection.resumed:
            verify_chain(connection, options.ca, options.name or options.host)
        for line in options.line:
            connection.write(line.encode() + b"\n")
            print(f"reply: {read_line(connection)}", flush=True)
            while options.wait_for and not os.path.exists(options.wait_for):
                time.sleep(0.05)
        if options.until_closed:
            connection.write(b"QUIT\n")
            # An end without close_notify raises, as ignoreAbruptClose is off.
            while connection.read(max=4096, min=1):
                pass
            print("closed: close_notify")
        connection.close()
        return connection.session


def talk_twice(options, suites, extensions):
    """Asks for a ticket, then resumes with it."""
    session = talk(options, suites, extensions + [(SESSION_TICKET, bytearray())])
    if not session.tls_1_0_tickets:
        raise ValueError("the server gave no ticket")
    ticket = session.tls_1_0_tickets[0].ticket
    if options.other_port:
        # Another section's: it must not know the ticket, and tlslite-ng need not expect that it does.
        options.port, session = options.other_port, None
    talk(options, suites, extensions + [(SESSION_TICKET, ticket)], session)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int)
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="cc3220sf-1")
    parser.add_argument("--suites", help="hex code points instead of the variant's: 'c02f c030'")
    parser.add_argument("--extension", action="append", help="'type:content' in hex, instead of the variant's")
    parser.add_argument("--ca", help="PEM file the chain must verify against")
    parser.add_argument("--name", help="name the certificate must carry; default: host")
    parser.add_argument("--cert", help="PEM file of the client certificate to present when asked")
    parser.add_argument("--key", help="PEM file of the private key to sign with")
    parser.add_argument("--any-signature", action="store_true", help="take RSA-PSS too, as no device does")
    parser.add_argument("--refuse", type=int, metavar="ALERT", help="answer the certificate with this alert")
    parser.add_argument("--garble", action="store_true", help="send a premaster secret and Finished of random bytes")
    parser.add_argument("--until-closed", action="store_true", help="then send QUIT and wait for close_notify")
    parser.add_argument("--resume", action="store_true", help="connect again with the ticket of the first time")
    parser.add_argument("--other-port", type=int, help="with --resume: offer the ticket there, and want a full handshake")
    parser.add_argument("--version", help="hex, such as 0301 for TLS 1.0; default: the variant's")
    parser.add_argument("--line", action="append", default=[], help="a line to send; may be repeated")
    parser.add_argument("--wait-for", metavar="FILE", help="go on after a reply only once this file is there")
    parser.add_argument("--print-hello", action="store_true", help="print the record in hex and stop")
    return parser.parse_args()


def main():
    options = parse_options()
    suites, extensions = VARIANTS[options.variant]
    suites = parse_suites(options.suites or suites)
    chosen = options.extension if options.extension is not None else extensions
    extensions = [parse_extension(text) for text in chosen]
    options.version = tuple(bytes.fromhex(options.version)) if options.version else VERSIONS.get(options.variant, (3, 3))
    if options.print_hello:
        # A fixed random: a fixture must come out the same every time.
        print(record(build_hello(options.version, suites, extensions, range(32))).hex())
        return 0
    try:
        (talk_twice if options.resume else talk)(options, suites, extensions)
    except TLSRemoteAlert as alert:
        print(f"error: received alert {alert.description} ({alert})")
        return 1
    except TLSLocalAlert as alert:
        print(f"error: sent alert {alert.description} ({alert})")
        return 1
    except (BaseTLSException, OSError, ValueError) as error:
        print(f"error: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
