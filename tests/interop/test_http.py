"""Handshakes that are refused, and plain HTTP, against the echo example."""

import shutil
import subprocess
import time

import pytest

from conftest import SETUPS, serving
from raw import request, response, upgrade


def answer_to(server, head):
    with server.connect() as peer:
        peer.sendall(head)
        return response(peer)


def test_an_old_version_is_told_the_right_one(echo):
    answer = answer_to(echo, request(echo.authority, Sec_WebSocket_Version="7"))
    assert answer.status == 426
    assert answer.getheader("Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize("version", [None, "", "14", "13, 8", "013"])
def test_only_version_13(echo, version):
    answer = answer_to(echo, request(echo.authority, Sec_WebSocket_Version=version))
    assert answer.status in (400, 426)


@pytest.mark.parametrize("key", [None, "", "short", "dGhlIHNhbXBsZSBub25jZQ", "not base64 at all!!!!=="])
def test_a_missing_or_malformed_key(echo, key):
    assert answer_to(echo, request(echo.authority, Sec_WebSocket_Key=key)).status == 400


def test_another_method(echo):
    answer = answer_to(echo, request(echo.authority, method="POST", Content_Length="0"))
    assert answer.status == 405
    assert "GET" in answer.getheader("Allow")


def test_a_foreign_origin(echo):
    answer = answer_to(echo, request(echo.authority, Origin="https://elsewhere.example"))
    assert answer.status == 403
    answer = answer_to(echo, request(echo.authority, Origin=f"http://{echo.authority}"))
    assert answer.status == 101


def test_an_oversized_head(echo):
    assert answer_to(echo, request(echo.authority, X_Long="x" * 20_000)).status == 431
    many = {f"X_Field_{number}": "x" for number in range(200)}
    assert answer_to(echo, request(echo.authority, **many)).status == 431
    assert answer_to(echo, request(echo.authority, target="/" + "x" * 9_000)).status == 414


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["tls", "no-host", "two-hosts", "space-before-colon", "bare-line-feed", "two-spaces"],
)
def test_malformed_requests(echo, head):
    with echo.connect() as peer:
        peer.sendall(head)
        assert response(peer).status == 400
        assert peer.recv(1) == b"", "a connection is not used on after a fault"


def test_a_refusal_leaves_the_others_alone(echo):
    with upgrade(echo) as peer:
        answer_to(echo, b"nonsense\r\n\r\n")
        peer.sendall(b"\x89\x80\x00\x00\x00\x00")
        assert peer.recv(2) == b"\x8a\x00"


def test_plain_requests_share_a_connection(echo):
    get = f"GET / HTTP/1.1\r\nHost: {echo.authority}\r\n\r\n".encode()
    with echo.connect() as peer:
        peer.sendall(get + get)
        for _ in range(2):
            answer = response(peer)
            assert (answer.status, answer.content) == (200, b"Hello, world!")
        peer.sendall(get)
        assert response(peer).content == b"Hello, world!"
        # And then the same connection becomes a WebSocket.
        peer.sendall(request(echo.authority))
        assert response(peer).status == 101


def test_head_and_one_request_per_connection(echo):
    with echo.connect() as peer:
        peer.sendall(f"HEAD / HTTP/1.1\r\nHost: {echo.authority}\r\n\r\n".encode())
        answer = response(peer, "HEAD")
        assert (answer.status, answer.getheader("Content-Length")) == (200, "13")
        peer.sendall(f"GET / HTTP/1.1\r\nHost: {echo.authority}\r\nConnection: close\r\n\r\n".encode())
        assert response(peer).content == b"Hello, world!"
        assert peer.recv(1) == b""
    with echo.connect() as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert response(peer).content == b"Hello, world!"
        assert peer.recv(1) == b""


def test_curl(echo):
    if not shutil.which("curl"):
        pytest.fail("curl is not installed")
    url = f"http://{echo.authority}/"
    run = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "10", url, url], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("HTTP/1.1 200") == 2
    assert run.stdout.count("Hello, world!") == 2


def test_slow_and_silent_peers_are_let_go():
    """A head that trickles is answered with 408; a byte now and then gains no time."""
    servers = [serving("echo", setup) for setup in SETUPS]
    running = [server.__enter__() for server in servers]
    try:
        peers = [server.connect() for server in running]
        for peer, server in zip(peers, running):
            peer.sendall(request(server.authority)[:-2])
            peer.setblocking(False)
        answers = {}
        end = time.monotonic() + 60
        while len(answers) < len(peers) and time.monotonic() < end:
            time.sleep(0.5)
            for index, peer in enumerate(peers):
                if index not in answers:
                    try:
                        answers[index] = peer.recv(65536)
                    except BlockingIOError:
                        peer.send(b"x")
        assert [answers.get(index, b"")[:12] for index in range(len(peers))] == [
            b"HTTP/1.1 408"
        ] * len(peers)
    finally:
        for peer in peers:
            peer.close()
        for server in servers:
            server.__exit__(None, None, None)
