#!/bin/sh
# Makes a throw-away PKI with openssl: a root, and under it a server, a client (a device) and a proxy.
# Everything is RSA 2048, X.509 v3 with the extensions a careful CA writes.
#
#   examples/make-pki.sh [OUT] [DAYS]     folder (default: pki) and days everything is valid (default: 30)
#
#   DEVICE=meter-17      name of the client, which is its deviceId
#   SERVER=example.org   further name of the server, beside localhost
#   PROXY=gateway        name of the proxy
#
#   root.pem root.key    the CA: m0v ca add OUT/root.pem, and devices it signs are accepted
#   server-chain.pem server.key   [tls] chain and key
#   client.pem client.key    what a device shows; DEVICE is its id
#   proxy.pem proxy.key      for what stands in front of m0v, or dials its tunnel: m0v cert add OUT/proxy.pem
#
# Not for production: the root's key lies beside the rest. Existing files are never written over.
set -eu

usage() { sed -n '2,/^set -eu/{s/^# \{0,1\}//p;}' "$0"; }
case ${1:-} in -h | --help) usage && exit 0 ;; -*) usage >&2 && exit 64 ;; esac
[ $# -le 2 ] || { usage >&2 && exit 64; }

out=${1:-${OUT:-pki}}
days=${2:-${DAYS:-30}}
device=${DEVICE:-meter-17} server=${SERVER:-localhost} proxy=${PROXY:-gateway}
case $days in '' | 0* | *[!0-9]*) echo "make-pki.sh: DAYS must be a whole number of days, not $days" >&2 && exit 64 ;; esac
case $device$server$proxy in *[!A-Za-z0-9._:-]*)
    echo "make-pki.sh: names may have letters, digits and . _ : - only" >&2 && exit 64 ;;
esac
command -v openssl >/dev/null || { echo "make-pki.sh: openssl is not installed" >&2 && exit 1; }
for name in root server client proxy server-chain; do
    for file in "$out/$name.pem" "$out/$name.key"; do
        if [ -e "$file" ]; then
            echo "make-pki.sh: $file exists; remove it, or name another folder" >&2
            exit 1
        fi
    done
done

umask 077
mkdir -p "$out"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

run() { # an openssl command; what it says is shown only if it fails
    openssl "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2 && return 1; }
}

new_key() { run genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/$1.key"; }

issue() { # NAME CN EXTENSION…: key and certificate, signed by the root
    name=$1 cn=$2
    shift 2
    new_key "$name"
    {
        printf '[ext]\nbasicConstraints = critical, CA:FALSE\n'
        printf 'subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n'
        printf '%s\n' "$@"
    } >"$work/$name.ext"
    run req -new -key "$work/$name.key" -subj "/O=m0v example/CN=$cn" -out "$work/$name.csr"
    run x509 -req -in "$work/$name.csr" -CA "$work/root.pem" -CAkey "$work/root.key" -set_serial "0x$(openssl rand -hex 15)" \
        -days "$days" -sha256 -extfile "$work/$name.ext" -extensions ext -out "$work/$name.pem"
}

new_key root
cat >"$work/root.cnf" <<END
[req]
distinguished_name = dn
prompt = no
[dn]
O = m0v example
CN = m0v example root
[ext]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
run req -x509 -new -config "$work/root.cnf" -extensions ext -key "$work/root.key" -sha256 -days "$days" -out "$work/root.pem"

san=DNS:localhost,IP:127.0.0.1,IP:::1
[ "$server" = localhost ] || san=$san,DNS:$server
issue server "$server" 'keyUsage = critical, digitalSignature, keyEncipherment' 'extendedKeyUsage = serverAuth' \
    "subjectAltName = $san"
issue client "$device" 'keyUsage = critical, digitalSignature' 'extendedKeyUsage = clientAuth'
# A proxy is a server to those who come, and a client to m0v.
issue proxy "$proxy" 'keyUsage = critical, digitalSignature, keyEncipherment' \
    'extendedKeyUsage = serverAuth, clientAuth' "subjectAltName = DNS:$proxy"
cat "$work/server.pem" "$work/root.pem" >"$work/server-chain.pem"

for name in server client proxy; do
    run verify -x509_strict -CAfile "$work/root.pem" "$work/$name.pem"
done
chmod 644 "$work"/*.pem
# ln never writes over a file, whoever made it meanwhile.
for file in root.key root.pem server.key server.pem server-chain.pem client.key client.pem proxy.key proxy.pem; do
    ln "$work/$file" "$out/$file"
done
echo "$out: root, server ($server), client ($device) and proxy ($proxy), valid for $days days"
