#!/bin/sh
# Lists what a TLS server negotiates, one `VERSION SUITE` a line (IANA names), sorted; the judge is sslscan.
#
#   scan.sh HOST:PORT              TLSv1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
#   scan.sh --groups HOST:PORT     TLSv1.3 x25519
#
# sslscan completes a handshake for each suite its OpenSSL has, and sends a hello of its own for every other one (RC4, 3DES,
# export, NULL, anonymous), so a Debian build sees those too. Its hellos always name groups: what a hello WITHOUT groups
# gets is the business of groupless.py.
set -eu

want=suites
if [ "${1:-}" = --groups ]; then
    want=groups
    shift
fi
if [ $# -ne 1 ]; then
    echo "usage: scan.sh [--groups] HOST:PORT" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sslscan --xml="$work/scan.xml" --no-colour --no-check-certificate --no-compression --no-fallback --no-heartbleed \
    --no-renegotiation "$1" >"$work/scan.log" 2>&1 || true
# sslscan's exit code is 0 whatever happened.
if ! grep -q '<ssltest ' "$work/scan.xml" 2>/dev/null; then
    echo "scan.sh: no scan of $1:" >&2
    tail -n 3 "$work/scan.log" >&2
    exit 1
fi

if [ "$want" = groups ]; then
    sed -n 's/.*<group sslversion="\([^"]*\)".* name="\([^" ]*\).*/\1 \2/p' "$work/scan.xml" | LC_ALL=C sort -u
    exit
fi

# OpenSSL's own names become IANA names; the suites OpenSSL lacks have those already.
openssl ciphers -stdname 'ALL:COMPLEMENTOFALL:@SECLEVEL=0' | awk '{ print $3, $1 }' >"$work/names"
{
    sed -n 's/.*<protocol type="ssl" version="\([23]\)" enabled="1".*/SSLv\1 ANY/p' "$work/scan.xml"
    sed -n 's/.*<cipher status="[a-z]*" sslversion="\([^"]*\)".* cipher="\([^"]*\)".*/\1 \2/p' "$work/scan.xml" |
        awk 'NR == FNR { iana[$1] = $2; next } { print $1, ($2 in iana ? iana[$2] : $2) }' "$work/names" -
} | LC_ALL=C sort -u
