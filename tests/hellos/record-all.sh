#!/bin/sh
# Records the hellos of the two C clients (see RECORDED.md). Needs: gcc, make, libmbedtls-dev, libwolfssl-dev, openssl, python3.
#   record-all.sh [FOLDER]     default: the folder of this script
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
notes=$here/../../firmware-notes
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make -s -C "$notes/mbedtls-client" OUT="$work"
make -s -C "$notes/wolfssl-client" OUT="$work"
# The C clients want a trust store, whatever is in it: the handshake never gets that far.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/ca.pem" -days 1 -subj /CN=nobody 2>/dev/null

record() {
    name=$1
    shift
    python3 "$here/record.py" "$out/$name.hex" -- "$@"
    echo "$name"
}
mbedtls() {
    name=$1
    shift
    record "$name" "$work/mbedtls-client" --host localhost --port '{port}' --ca "$work/ca.pem" --count 1 "$@"
}
wolfssl() {
    name=$1
    shift
    record "$name" "$work/wolfssl-client" --host localhost --port '{port}' --ca "$work/ca.pem" --count 1 "$@"
}

mbedtls mbedtls-2.28
mbedtls mbedtls-2.28-mfl512 --mfl 512
mbedtls mbedtls-2.28-p256 --groups secp256r1 --cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
mbedtls mbedtls-2.28-tls10-rsa --tls10 --cipher TLS_RSA_WITH_AES_256_CBC_SHA
wolfssl wolfssl-5.5
wolfssl wolfssl-5.5-tls12 --tls12
wolfssl wolfssl-5.5-tls12-mfl1024 --tls12 --mfl 1024
wolfssl wolfssl-5.5-tls12-cbc --tls12 --groups secp256r1 --cipher TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
