#!/bin/sh
# Which device is which, from beginning to end, with curl and openssl: a server of its own on free
# ports, an API key, a certificate issued and used, one synced, a CA registered, and a revocation.
#
#   examples/identity.sh [OUT]     folder for everything, kept afterwards (default: identity)
#
#   M0V=target/release/m0v         the binary (default: it, else one in PATH)
#   M0V_DATABASE__URL=postgres://… another store than the embedded one
#
# Every answer is shown; the script ends with 1 at the first that is not what it should be.
set -eu

case ${1:-} in -*) sed -n '2,/^set -eu/{s/^# \{0,1\}//p;}' "$0" && exit 0 ;; esac
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-identity}
m0v=${M0V:-$here/../target/release/m0v}
[ -x "$m0v" ] || m0v=$(command -v m0v) || { echo "identity.sh: no m0v: cargo build --release, or M0V=PATH" >&2 && exit 1; }
for tool in curl openssl; do
    command -v $tool >/dev/null || { echo "identity.sh: $tool is not installed" >&2 && exit 1; }
done
[ ! -e "$out" ] || { echo "identity.sh: $out exists; remove it, or name another folder" >&2 && exit 1; }

umask 077
mkdir -p "$out"
cd "$out"
server='' client=''
trap 'for pid in $client $server; do kill "$pid" 2>/dev/null || :; done; wait' EXIT
trap 'exit 1' HUP INT TERM

step() { printf '\n== %s\n' "$*"; }
fail() { echo "identity.sh: $*" >&2 && exit 1; }

# A member of an object that has only texts in it; PEM's line ends are its only escapes.
member() { printf '%b' "$(printf '%s' "$answer" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p")"; }

# ask STATUS METHOD PATH [curl's options…]: shows the answer, which must have that status.
ask() {
    wanted=$1 method=$2 path=$3
    shift 3
    answer=$(curl -sS --noproxy '*' --cacert data/tls/ca.pem -X "$method" -w '\n%{http_code}' "$@" "$api$path")
    status=${answer##*
}
    answer=${answer%
*}
    echo "$method $path -> $status $(printf '%s' "$answer" | sed 's/-----BEGIN \([A-Z ]*\)-----[^"]*/-----BEGIN \1-----…/g')"
    [ "$status" = "$wanted" ] || fail "expected status $wanted"
}

# post STATUS PATH JSON [curl's options…]: with the key, unless the options say who asks.
post() {
    wanted=$1 path=$2 body=$3
    shift 3
    [ $# -gt 0 ] || set -- -H "api-key-name: $key"
    ask "$wanted" POST "$path" -H 'content-type: application/json' --data-binary "$body" "$@"
}

# meter WORDS CERTIFICATE KEY: a reading over the meter port; what it hears must begin with WORDS, or
# be TLS's own word for it if that is "revoked".
meter() {
    words=$1
    rm -f to from && mkfifo to
    openssl s_client -quiet -connect "$meter" -servername localhost -CAfile data/tls/ca.pem \
        -verify_return_error -cert "$2" -key "$3" <to >from 2>openssl.log &
    client=$!
    exec 3>to
    echo '> {"status":true,"voltage":231.4,"freq":49.98}'
    echo '{"status":true,"voltage":231.4,"freq":49.98}' >&3 2>/dev/null || :
    while [ ! -s from ] && kill -0 "$client" 2>/dev/null; do sleep 0.1; done
    exec 3>&-
    kill "$client" 2>/dev/null || :
    wait "$client" 2>/dev/null || :
    client=''
    echo "< $(cat from)$(sed -n 's/.*\(alert certificate revoked\).*/TLS \1/p' openssl.log)"
    if [ "$words" = revoked ]; then
        grep -q 'alert certificate revoked' openssl.log || fail 'expected an alert'
    else
        case $(cat from) in "$words"*) ;; *) fail "expected $words" ;; esac
    fi
}

certificate_id() { openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f; }
json_text() { awk '{ printf "%s\\n", $0 }' "$1"; }

step 'A server that asks for certificates'
cat >m0v.toml <<'TOML'
data_dir = "data"
[meter]
listen = ["127.0.0.1:0"]
client_cert = "optional"
[confirm]
listen = ["127.0.0.1:0"]
[api]
listen = ["127.0.0.1:0"]
[admin]
listen = ["127.0.0.1:0"]
TOML
"$m0v" --config m0v.toml >m0v.log 2>&1 &
server=$!
while [ ! -s data/listeners.json ]; do
    kill -0 "$server" 2>/dev/null || { cat m0v.log >&2 && fail 'm0v did not start'; }
    sleep 0.1
done
port() { sed -n "s/.*\"$1\":\[\"127\.0\.0\.1:\([0-9]*\)\".*/\1/p" data/listeners.json; }
api=https://localhost:$(port api) meter=127.0.0.1:$(port meter)
echo "API $api, meters $meter"

step 'A key for the back office; without one nobody is let in'
post 401 /devicecert '{"deviceId":"meter-17"}' -H 'x-nothing: to show'
key=$("$m0v" --config m0v.toml key add backoffice)
sleep 1 # a second at most, on every node

step 'A certificate for a device, in force at once'
post 200 /devicecert '{"deviceId":"meter-17","modelNumber":"CC3220S"}'
member certificatePem >meter-17.pem
member privateKey >meter-17.key
member rootCertPem >issuer.pem
openssl verify -CAfile issuer.pem meter-17.pem
meter 'Thank you' meter-17.pem meter-17.key
ask 200 GET / --cert meter-17.pem --key meter-17.key

step 'It speaks for its device, and for no other'
post 200 /devicetelemetry '{"temperature":21.5}' --cert meter-17.pem --key meter-17.key
post 401 /devicetelemetry/meter-18 '{"temperature":21.5}' --cert meter-17.pem --key meter-17.key
post 200 /devicetelemetry/meter-18 '{"temperature":21.5}'
post 200 /forwardtelemetry '{"deviceId":"meter-18","createdAt":1732300000,"data":{"temperature":20}}'

step 'A certificate that somebody else issued: unknown, synced, known'
DEVICE=meter-18 "$here/make-pki.sh" pki >/dev/null
meter '!OK' pki/client.pem pki/client.key
id=$(certificate_id pki/client.pem)
sync='{"deviceId":"meter-18","modelNumber":"","certificateId":"'$id'","certificatePem":"'$(json_text pki/client.pem)'"}'
post 200 /syncdevicecert "$sync"
post 200 /syncdevicecert "$sync"
post 409 /syncdevicecert "$(printf '%s' "$sync" | sed 's/meter-18/meter-19/')"
meter 'Thank you' pki/client.pem pki/client.key

step 'A CA: its devices are registered at their first connection'
ask 401 GET / --cert pki/proxy.pem --key pki/proxy.key
"$m0v" --config m0v.toml ca add pki/root.pem
sleep 1
ask 200 GET / --cert pki/proxy.pem --key pki/proxy.key
post 200 /caRegister '{"csrSubjects":{"countryName":"DE","organizationName":"m0v example"}}'
ls "data/ca/$(member certificateId)"

step 'Revoked: refused everywhere'
"$m0v" --config m0v.toml cert revoke "$(certificate_id meter-17.pem)"
sleep 1
meter revoked meter-17.pem meter-17.key
if curl -sS --noproxy '*' --cacert data/tls/ca.pem --cert meter-17.pem --key meter-17.key "$api/" 2>curl.log; then
    fail 'expected an alert'
fi
grep 'alert certificate revoked' curl.log

step 'The key, retired'
"$m0v" --config m0v.toml key retire backoffice
sleep 1
post 401 /devicetelemetry/meter-18 '{"temperature":21.5}'

step 'Who did what'
"$m0v" --config m0v.toml audit
