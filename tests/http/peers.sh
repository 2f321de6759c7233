#!/usr/bin/env bash
# Other people's clients and proxies against the examples: curl, requests (Python), h2load, and
# nginx and HAProxy in front; 1 GiB up and down in constant memory.
#
#   cargo build --release --examples && tests/http/peers.sh [uring|epoll]...
#
# Takes curl, python3 with requests, h2load (nghttp2-client), nginx and haproxy. Everything listens
# on loopback. SOCKEYE_EXAMPLES names the folder of the built examples, PYTHON the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

examples=${SOCKEYE_EXAMPLES:-${CARGO_TARGET_DIR:-target}/release/examples}
python=${PYTHON:-python3}
folder=$(mktemp -d)
server='' nginx='' haproxy=''

stop() {
    local pid=$1
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
}

clean() {
    stop "$haproxy"
    stop "$nginx"
    stop "$server"
    rm -rf "$folder"
}
trap clean EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# same WHAT EXPECTED FOUND
same() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
    echo "ok: $1"
}

for tool in curl h2load nginx haproxy; do
    command -v $tool >/dev/null || fail "$tool is missing: see the head of this script"
done
"$python" -c 'import requests' 2>/dev/null || fail "requests is missing: pip install requests"

# serve EXAMPLE ARGUMENTS...  Starts an example; sets server, port and url.
serve() {
    local example=$1 line
    shift
    "$examples/$example" --listen 127.0.0.1:0 --workers 1 "$@" >"$folder/$example.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        line=$(head -n 1 "$folder/$example.log")
        [ -z "$line" ] || break
        sleep 0.05
    done
    port=$(sed -n 's/.*ws:\/\/127.0.0.1:\([0-9]*\).*/\1/p' <<<"$line")
    [ -n "$port" ] || fail "$example does not start: $line"
    url=http://127.0.0.1:$port
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The most memory that the server has had, in KiB.
peak() {
    sed -n 's/^VmHWM:\s*\([0-9]*\) kB/\1/p' "/proc/$server/status"
}

with_curl() {
    same 'curl: greets' 'Hello, world!' "$(curl -sf "$url/")"
    same 'curl: echoes' 'abc' "$(curl -sf --data-binary abc "$url/")"
    head -c 300000 /dev/urandom >"$folder/random"
    curl -sf --data-binary "@$folder/random" "$url/" -o "$folder/echoed" || true
    cmp "$folder/random" "$folder/echoed" || fail 'curl: a long body comes back otherwise'
    curl -sf -H 'Transfer-Encoding: chunked' --data-binary "@$folder/random" "$url/" \
        -o "$folder/echoed"
    cmp "$folder/random" "$folder/echoed" || fail 'curl: a body in chunks comes back otherwise'
    same 'curl: 100-continue' 'abc' "$(curl -sf -H 'Expect: 100-continue' --data abc "$url/")"
    same 'curl: parameters, JSON' '{"hello":"a b"}' "$(curl -sf "$url/hello/a%20b")"
    same 'curl: HEAD' 13 "$(curl -sfI "$url/" | tr -d '\r' | sed -n 's/^Content-Length: //p')"
    same 'curl: HTTP/1.0' 'Hello, world!' "$(curl -sf --http1.0 "$url/")"
    same 'curl: 405' 405 "$(curl -s -o /dev/null -w '%{http_code}' -X PUT "$url/hello/x")"
    same 'curl: 404' 404 "$(curl -s -o /dev/null -w '%{http_code}' "$url/a/b/c")"
    same 'curl: file' 'a file' "$(curl -sf "$url/files/a.txt")"
    same 'curl: range' 'file' "$(curl -sf -r 2- "$url/files/a.txt")"
    same 'curl: no way out' 404 \
        "$(curl -s -o /dev/null -w '%{http_code}' --path-as-is "$url/files/../secret")"
    local tag
    tag=$(curl -sfI "$url/files/a.txt" | tr -d '\r' | sed -n 's/^ETag: //p')
    same 'curl: validator' 304 \
        "$(curl -s -o /dev/null -w '%{http_code}' -H "If-None-Match: $tag" "$url/files/a.txt")"
    same 'curl: connection is kept' 1 \
        "$(curl -sf -o /dev/null -o /dev/null -w '%{num_connects}\n' "$url/" "$url/" |
            awk '{ sum += $1 } END { print sum }')"
}

gibibyte() {
    truncate -s 1G "$folder/files/gibibyte"
    same 'download of 1 GiB' 1073741824 \
        "$(curl -sf -o /dev/null -w '%{size_download}' "$url/files/gibibyte")"
    same 'upload of 1 GiB' '{"bytes":1073741824}' \
        "$(curl -sf -T "$folder/files/gibibyte" "$url/upload")"
    same 'upload of 1 GiB in chunks' '{"bytes":1073741824}' \
        "$(curl -sf -T - "$url/upload" <"$folder/files/gibibyte")"
    local kib
    kib=$(peak)
    [ "$kib" -lt 65536 ] || fail "the server has used $kib KiB"
    echo "ok: the server has used $kib KiB at most"
}

with_requests() {
    "$python" - "$url" <<'PYTHON'
import concurrent.futures, sys
import requests

url = sys.argv[1]
with requests.Session() as session:
    assert session.get(url + '/').text == 'Hello, world!'
    for length in (1, 1000, 100_000, 1_000_000):
        body = bytes(n % 251 for n in range(length))
        assert session.post(url + '/', data=body).content == body
        chunks = (body[start:start + 7001] for start in range(0, length, 7001))
        assert session.post(url + '/', data=chunks).content == body
    assert session.post(url + '/', data=b'x' * (1 << 20 | 1)).status_code == 413
    assert session.get(url + '/hello/%C3%A9').json() == {'hello': 'é'}
    assert session.put(url + '/upload', data=b'x' * 5_000_000).json() == {'bytes': 5_000_000}
    assert session.get(url + '/files/').text == '<p>index</p>'
    assert session.head(url + '/').headers['Content-Length'] == '13'
    answer = session.put(url + '/hello/x')
    assert (answer.status_code, answer.headers['Allow']) == (405, 'GET, HEAD')

def many(number):
    with requests.Session() as session:
        for count in range(50):
            body = f'{number} {count}'
            assert session.post(url + '/', data=body).text == body

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(many, range(8)))
print('ok: requests')
PYTHON
}

with_h2load() {
    local pipelined report
    for pipelined in 1 16; do
        report=$(h2load --h1 -n 20000 -c 20 -m $pipelined "$url/" 2>&1)
        grep -q '20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed' <<<"$report" ||
            fail "h2load: $report"
        echo "ok: h2load, $pipelined in flight:$(sed -n 's/^finished in\(.*\)/\1/p' <<<"$report")"
    done
}

behind_nginx() {
    local front
    front=$(free_port)
    # As root it would give its workers to somebody who may not enter the folder.
    local user=''
    [ "$(id -u)" -ne 0 ] || user='user root;'
    cat >"$folder/nginx.conf" <<CONF
$user
daemon off;
worker_processes 1;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    client_max_body_size 100m;
    upstream sockeye { server 127.0.0.1:$port; keepalive 8; }
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    server {
        listen 127.0.0.1:$front;
        location / {
            proxy_pass http://sockeye;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
        }
        location /old/ { proxy_pass http://sockeye/; }
    }
}
CONF
    nginx -e "$folder/nginx.log" -c "$folder/nginx.conf" &
    nginx=$!
    through nginx "http://127.0.0.1:$front"
    same 'nginx: HTTP/1.0 upstream' 'Hello, world!' "$(curl -sf "http://127.0.0.1:$front/old/")"
    stop "$nginx"
    nginx=''
}

behind_haproxy() {
    local front
    front=$(free_port)
    cat >"$folder/haproxy.cfg" <<CONF
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:$front
    default_backend back
backend back
    http-reuse always
    server sockeye 127.0.0.1:$port check inter 200ms
CONF
    haproxy -q -f "$folder/haproxy.cfg" &
    haproxy=$!
    through HAProxy "http://127.0.0.1:$front"
    stop "$haproxy"
    haproxy=''
}

# through NAME URL  What has to pass a proxy unharmed.
through() {
    local name=$1 url=$2
    for _ in $(seq 100); do
        ! curl -sf -o /dev/null "$url/" || break
        sleep 0.05
    done
    same "$name: greets" 'Hello, world!' "$(curl -sf "$url/")"
    curl -sf --data-binary "@$folder/random" "$url/" -o "$folder/echoed" || true
    cmp "$folder/random" "$folder/echoed" || fail "$name: a long body comes back otherwise"
    same "$name: upload" '{"bytes":300000}' "$(curl -sf -T "$folder/random" "$url/upload")"
    same "$name: file" 'a file' "$(curl -sf "$url/files/a.txt")"
    for _ in $(seq 50); do
        [ "$(curl -sf "$url/hello/x")" = '{"hello":"x"}' ] || fail "$name: answers get mixed up"
    done
    same "$name: WebSocket" 101 "$(curl -s -o /dev/null -m 1 -w '%{http_code}' --http1.1 \
        -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
        -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$url/ws")"
}

with_events() {
    curl -sN -m 20 "$url/events" >"$folder/events" &
    local stream=$!
    sleep 0.3
    same 'sse: publishes' 204 \
        "$(curl -s -o /dev/null -w '%{http_code}' --data-binary $'one\ntwo' "$url/publish")"
    sleep 0.3
    kill $stream 2>/dev/null || true
    wait $stream 2>/dev/null || true
    same 'sse: an event arrives' $'retry: 2000\n\nid: 1\ndata: one\ndata: two' \
        "$(cat "$folder/events")"
}

with_tickets() {
    local ticket
    same 'auth: nobody' 401 "$(curl -s -o /dev/null -w '%{http_code}' -X POST "$url/ticket")"
    same 'auth: token' robot "$(curl -sf --oauth2-bearer 0b5cd1c1-a-secret "$url/whoami")"
    ticket=$(curl -sf -u ada:lovelace -X POST "$url/ticket")
    local expected
    for expected in 101 403; do
        same "auth: ticket, $expected" $expected \
            "$(curl -s -o /dev/null -m 1 -w '%{http_code}' --http1.1 \
                -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
                -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$url/ws?ticket=$ticket")"
    done
    # One of the 64 is used up.
    same 'auth: tickets of one user' '63 200, 7 429' \
        "$(curl -s -u ada:lovelace -X POST -o /dev/null -w '%{http_code}\n' "$url/ticket?[1-70]" |
            sort | uniq -c | sed 's/^ *//' | paste -sd, | sed 's/,/, /')"
    same 'auth: tickets of another user' 200 \
        "$(curl -s -u alan:turing -X POST -o /dev/null -w '%{http_code}' "$url/ticket")"
}

mkdir "$folder/files"
printf 'a file' >"$folder/files/a.txt"
printf '<p>index</p>' >"$folder/files/index.html"
printf 'secret' >"$folder/secret"

backends=("$@")
[ $# -gt 0 ] || backends=(uring epoll)
for backend in "${backends[@]}"; do
    echo "== $backend"
    serve http --backend "$backend" --files "$folder/files"
    with_curl
    gibibyte
    with_requests
    with_h2load
    behind_nginx
    behind_haproxy
    stop "$server"
    serve sse --backend "$backend"
    with_events
    stop "$server"
    serve auth --backend "$backend"
    with_tickets
    stop "$server"
    server=''
done
echo 'all peers are content'
