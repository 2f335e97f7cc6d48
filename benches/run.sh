#!/usr/bin/env bash
# Measures m0v beside the limits of the machine and prints one line a figure: benches/run.sh [STEP...]
#   STEP: ingest handshakes idle tunnels storm embedded restart brokers pure (all of them if none is named)
#   M0V_BENCH_URL  an empty PostgreSQL database on this machine, which will be filled (ingest … brokers)
#   ROUNDS         repetitions (3); take medians, run nothing else meanwhile
# Every load is bounded in count and time. Ratios are taken in one run, seconds after the limit they are measured
# against; absolute figures do not carry to another machine. Needs psql, pgbench, openssl, python3. Writes benches/results/.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-3}
port=20511
api_port=20513
devices=1000
scratch=$(mktemp -d)
results=benches/results/$(date -u +%Y-%m-%d).txt
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$scratch"' EXIT

cargo build --release --locked --bin m0v --example load
m0v=$PWD/target/release/m0v
load=$PWD/target/release/examples/load

say() { echo "$*" | tee -a "$results"; }
field() { sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$scratch/last.json"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.3f", a / b; else print "-" }'; }
sql() { psql -qAtX "$M0V_BENCH_URL" -c "$1"; }

# serve URL: starts m0v on what is in the scratch directory; an empty URL is the embedded store.
serve() {
    local url=()
    [ -z "$1" ] || url=("M0V_DATABASE__URL=$1")
    (cd "$scratch" && exec env "${url[@]}" M0V_METER__LISTEN=127.0.0.1:$port M0V_CONFIRM__LISTEN=127.0.0.1:0 \
        M0V_API__LISTEN=127.0.0.1:$api_port M0V_API__BROKER_TOKEN=bench M0V_ADMIN__LISTEN=127.0.0.1:0 M0V_LOG__LEVEL=warn \
        M0V_LIMITS__MAX_CONNECTIONS_PER_IP=60000 "$m0v") &
    server=$!
    for _ in $(seq 400); do [ ! -e "$scratch/m0v-data/listeners.json" ] || return 0; sleep 0.02; done
    echo "m0v did not start" >&2
    exit 1
}

leave() { kill "$server" && wait "$server" || true; server=; }

# measure NAME ARGUMENTS...: one run of the load tool; its JSON goes to the results as it is.
measure() {
    local name=$1
    shift
    "$load" --port $port --ca "$scratch/m0v-data/tls/ca.pem" --ids 1-$devices --seconds 120 --json --pid "$server" \
        --ack-log "$scratch/acks" "$@" >"$scratch/last.json" || true
    echo "$name: load $* -> $(cat "$scratch/last.json")" >>"$results"
}

# Devices 1 to 1000, asked for once each, so that no measurement pays for meeting them.
introduce() { measure introduce persistent --connections 1 --packets 1000 --window 100; }

prepare_limits() {
    PGOPTIONS='-c client_min_messages=warning' sql "INSERT INTO pub (pub_id) SELECT generate_series(1, 1000) ON CONFLICT DO NOTHING;
         CREATE TABLE IF NOT EXISTS limit_packet (pub_id bigint NOT NULL REFERENCES pub, id bigserial PRIMARY KEY,
             created_at timestamptz NOT NULL, voltage real, frequency real, protected boolean)" >/dev/null
    sql "COPY (SELECT 1 + i % 1000, i, now(), 230, 50, true FROM generate_series(1, 10000) i) TO STDOUT" |
        cut -f1,3- >"$scratch/rows"
    for _ in $(seq 40); do
        echo "\\copy limit_packet (pub_id, created_at, voltage, frequency, protected) from '$scratch/rows'"
    done >"$scratch/copy.sql"
    echo "INSERT INTO limit_packet (pub_id, created_at, voltage, protected) VALUES (1, now(), 230, true)" >"$scratch/insert.sql"
}

# Rows a second that COPY stores, 10000 a commit on one connection.
copy_limit() {
    sql 'TRUNCATE limit_packet; CHECKPOINT' 2>/dev/null || sql 'TRUNCATE limit_packet'
    local began ended
    began=$(date +%s%N)
    psql -qX "$M0V_BENCH_URL" -f "$scratch/copy.sql"
    ended=$(date +%s%N)
    echo $((40 * 10000 * 1000000000 / (ended - began)))
}

# Microseconds of one INSERT and its commit.
commit_time() {
    pgbench -n -M prepared -c 1 -T 3 -f "$scratch/insert.sql" "$M0V_BENCH_URL" 2>/dev/null |
        awk '/^latency average/ { printf "%.0f", $4 * 1000 }'
}

latency() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$scratch/last.json"; }

ingest() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    serve "$M0V_BENCH_URL"
    prepare_limits
    introduce
    for _ in $(seq "$rounds"); do
        local copy commit
        copy=$(copy_limit) commit=$(commit_time)
        say "limits: COPY $copy rows/s, one INSERT and commit $commit us"
        for shape in "64 32 4000" "256 1 200" "64 1 500" "1 1 3000"; do
            read -r connections window packets <<<"$shape"
            sql 'TRUNCATE packet'
            measure ingest persistent --connections "$connections" --window "$window" --packets "$packets"
            say "ingest $connections x $window: $(field per_second)/s, ratio to COPY $(ratio "$(field per_second)" "$copy")," \
                "p50 $(latency p50) p99 $(latency p99) us, p50 to a commit $(ratio "$(latency p50)" "$commit")," \
                "server $(field server_cpu_us_each) us; thanked $(wc -l <"$scratch/acks") stored $(sql 'SELECT count(*) FROM packet')"
        done
        measure "ingest at 1000/s" persistent --connections 64 --packets 80 --rate 1000
        say "ingest 64 x 1 at 1000/s: p50 $(latency p50) p99 $(latency p99) us"
    done
    leave
}

handshakes() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    serve "$M0V_BENCH_URL"
    prepare_limits
    introduce
    for _ in $(seq "$rounds"); do
        local rsa
        rsa=$(openssl speed -seconds 1 rsa2048 2>/dev/null | awk '/^rsa 2048/ { print $6 }')
        for how in "1.2" "1.3" "1.2 --resume" "1.3 --resume"; do
            # shellcheck disable=SC2086 # the words of $how are arguments
            measure handshakes reconnect --packets 4000 --tls $how
            local each
            each=$(field server_cpu_us_each)
            say "handshakes TLS $how: $(field per_second)/s, server $each us, so one core's $(ratio 1000000 "$each")/s," \
                "ratio to openssl's $rsa RSA-2048 signatures/s $(ratio "$(ratio 1000000 "$each")" "$rsa"), resumed $(field resumed)"
        done
    done
    leave
}

idle() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    for count in 2000 10000; do
        for tls in 1.2 1.3; do
            serve "$M0V_BENCH_URL"
            prepare_limits
            measure idle idle --connections $count --tls $tls
            say "idle TLS $tls: $count open, $(field server_bytes_per_connection) bytes each"
            leave
        done
    done
}

# Idle tunnels of one gateway, on the embedded store: out of the process, and to the meter port within it.
tunnels() {
    local gateway=20518 target old
    for target in outside 127.0.0.1:$port; do
        for old in "" --old; do
            M0V_TUNNEL__LISTEN=127.0.0.1:$gateway M0V_TUNNEL__ALLOW=127.0.0.1:20519,127.0.0.1:$port \
                M0V_TLS__COMPAT=rsa-kx serve ""
            [ -e "$scratch/gateway" ] || (cd "$scratch" && "$m0v" cert issue gateway --out gateway >/dev/null)
            say "idle tunnels to $target $old: 2000 open, $(benches/tunnels.py "$server" $gateway "$target" 2000 \
                "$scratch/m0v-data/tls/ca.pem" "$scratch"/gateway/{certificate,private_key}.pem $old) bytes each"
            leave
        done
    done
}

storm() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    serve "$M0V_BENCH_URL"
    prepare_limits
    introduce
    for _ in $(seq "$rounds"); do
        measure calm persistent --connections 4 --packets 100 --rate 100
        say "calm: p50 $(latency p50) p99 $(latency p99) max $(latency max) us"
        "$load" --port $port --ca "$scratch/m0v-data/tls/ca.pem" --ids 1-1000 --json persistent --connections 4 --packets 150 \
            --rate 100 >"$scratch/during.json" &
        local during=$!
        sleep 1
        measure storm idle --connections 2000 --at-once 2000 --hold 0
        say "storm of 2000 handshakes: $(field thanked) thanked, $(field lost) lost, $(field seconds) s"
        wait $during || true
        cp "$scratch/during.json" "$scratch/last.json"
        say "established meanwhile: p50 $(latency p50) p99 $(latency p99) max $(latency max) us, lost $(field lost)"
    done
    leave
}

embedded() {
    local devices=64
    serve ""
    for id in $(seq $devices); do (cd "$scratch" && "$m0v" pub add --id "$id" >/dev/null); done
    introduce
    for _ in $(seq "$rounds"); do
        measure embedded persistent --connections 64 --window 32 --packets 2000
        say "embedded store 64 x 32: $(field per_second)/s, refused $(field refused), server $(field server_cpu_us_each) us"
    done
    leave
}

restart() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    serve "$M0V_BENCH_URL"
    prepare_limits
    introduce
    for _ in $(seq "$rounds"); do
        local began ended
        kill -9 "$server"
        wait "$server" 2>/dev/null || true
        rm -f "$scratch/m0v-data/listeners.json"
        began=$(date +%s%N)
        serve "$M0V_BENCH_URL"
        measure restart persistent --connections 1 --packets 1
        ended=$(date +%s%N)
        say "killed, started again, first thanks after $(((ended - began) / 1000000)) ms, thanked $(field thanked)"
    done
    leave
}

# A broker that starts anew: 10,000 accounts (one password, so that it can be known) over a dozen connections, and
# readings meanwhile.
brokers() {
    : "${M0V_BENCH_URL:?an empty PostgreSQL database}"
    serve "$M0V_BENCH_URL"
    prepare_limits
    introduce
    local password
    password=$(curl -sS --cacert "$scratch/m0v-data/tls/ca.pem" "https://127.0.0.1:$api_port/register" --json '{}' |
        sed -n 's/.*"password":"\([^"]*\)".*/\1/p')
    sql "INSERT INTO account (identity_hash, username, password_hash, mosquitto_hash)
         SELECT 'load-' || i, 'un-load-' || i, password_hash, '' FROM generate_series(0, 9999) i,
             (SELECT password_hash FROM account ORDER BY account_id DESC LIMIT 1) made ON CONFLICT (username) DO UPDATE
         SET password_hash = excluded.password_hash"
    measure calm persistent --connections 4 --packets 250 --rate 100
    say "calm: p50 $(latency p50) p99 $(latency p99) max $(latency max) us"
    "$load" --port $port --ca "$scratch/m0v-data/tls/ca.pem" --ids 1-1000 --json --seconds 120 persistent --connections 4 \
        --packets 1500 --rate 100 >"$scratch/during.json" &
    local during=$!
    "$load" --port $api_port --ca "$scratch/m0v-data/tls/ca.pem" --json --seconds 1800 --pid "$server" brokers \
        --accounts 10000 --password "$password" --token bench >"$scratch/last.json" || true
    echo "brokers: $(cat "$scratch/last.json")" >>"$results"
    say "10000 passwords: all in after $(field seconds) s, $(field thanked) allowed, $(field refused) refused, server" \
        "$(field server_cpu_us_each) us of CPU each"
    wait $during || true
    cp "$scratch/during.json" "$scratch/last.json"
    say "readings meanwhile: p50 $(latency p50) p99 $(latency p99) max $(latency max) us, lost $(field lost)"
    leave
}

pure() {
    cargo bench --locked --bench pure -- --quick 2>/dev/null | awk '
        /^[a-z]+\// { name = $0; sub(/ *time:.*/, "", name) }
        /time:.*s\]/ { sub(/.*time: */, ""); print name ": " $0 }' | tee -a "$results"
}

steps=("$@")
[ $# -gt 0 ] || steps=(ingest handshakes idle tunnels storm embedded restart brokers pure)
say "# $(date -u +%FT%TZ) $(git rev-parse --short HEAD), $(nproc) cores: ${steps[*]}"
for step in "${steps[@]}"; do $step; done
