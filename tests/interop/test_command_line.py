"""Addresses, wrong arguments, and the end of the examples."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

import pytest
from websockets.sync.client import connect, unix_connect

from conftest import BACKENDS, EXAMPLES, PATIENCE, SETUPS, Server, serving, until
from raw import CLOSE, TEXT, frame, read_close, read_frame, upgrade

EVERY = ["echo", "broadcast", "chat"]

# Arguments that are wrong, and what has to be said about them.
WRONG = [
    ("--listen nonsense", "nonsense"),
    ("--listen 127.0.0.1", "127.0.0.1"),
    ("--listen 127.0.0.1:99999", "99999"),
    ("--listen 203.0.113.1:9001", "203.0.113.1:9001"),
    ("--listen unix:/nowhere/at/all.sock", "/nowhere/at/all.sock"),
    ("--backend kqueue", "kqueue uring epoll"),
    ("--workers many", "many"),
    ("--max-payload some", "some"),
    ("--no-such-option", "--no-such-option"),
]


def is_served(path):
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == 0


@pytest.fixture
def folder():
    # Not pytest's: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sockeye-") as path:
        yield pathlib.Path(path)


def run(example, *arguments):
    return subprocess.run(
        [EXAMPLES / example, *arguments], capture_output=True, text=True, timeout=PATIENCE
    )


def test_a_unix_socket(setup, folder):
    path = folder / "echo.sock"
    with serving("echo", setup, f"unix:{path}") as server:
        assert str(path) in server.ready
        with unix_connect(str(path), uri="ws://localhost/") as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"
        curl = ["curl", "-sS", "--max-time", "10", "--unix-socket", path, "http://localhost/"]
        got = subprocess.run(curl, capture_output=True, text=True)
        assert (got.stdout, got.stderr) == ("Hello, world!", "")
    assert not path.exists(), "the socket is left behind"


def test_a_unix_socket_that_was_left_behind(setup, folder):
    path = folder / "echo.sock"
    killed = Server("echo", setup, f"unix:{path}")
    killed.stop(signal.SIGKILL)
    assert path.exists()
    # The kernel takes a moment to take down a ring, and what it listens on, after its process.
    until(lambda: not is_served(path))
    with serving("echo", setup, f"unix:{path}"):
        with unix_connect(str(path), uri="ws://localhost/") as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"


def test_ipv6(setup):
    with serving("echo", setup, "[::1]:0") as server:
        assert server.url.startswith("ws://[::1]:")
        with connect(server.url) as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"


def test_port_0_prints_the_real_port(setup):
    with serving("echo", setup) as server:
        assert server.address[1] != 0
        with upgrade(server) as peer:
            peer.sendall(frame(TEXT, b"hello"))
            assert read_frame(peer) == (TEXT, b"hello")


def test_the_number_of_workers_is_told(setup):
    with serving("echo", setup) as server:
        assert f"{setup[1]} worker" in server.ready


def test_auto_chooses_a_backend():
    for chosen in "io_uring", "epoll":
        process = subprocess.Popen(
            [EXAMPLES / "echo", "--listen", "127.0.0.1:0", "--backend", "auto"],
            stdout=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        if chosen in line:
            assert ("uring" in chosen) == ("uring" in BACKENDS), line
            return
    pytest.fail(f"which backend is that? {line}")


@pytest.mark.parametrize("example", EVERY)
def test_help(example):
    got = run(example, "--help")
    assert got.returncode == 0
    for option in "--listen", "--backend", "--workers", "--max-payload", "--idle-timeout":
        assert option in got.stdout


@pytest.mark.parametrize("example", EVERY)
@pytest.mark.parametrize("arguments, mentioned", WRONG, ids=lambda value: value.split()[-1])
def test_wrong_arguments_are_told(example, arguments, mentioned):
    got = run(example, *arguments.split())
    assert got.returncode > 0
    assert "panicked" not in got.stderr
    for word in mentioned.split():
        assert word in got.stderr
    assert "listening" not in got.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_port_that_is_taken(backend):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:{}".format(taken.getsockname()[1])
        got = run("echo", "--listen", address, "--backend", backend)
        assert got.returncode > 0
        assert "panicked" not in got.stderr
        assert address in got.stderr
        assert "in use" in got.stderr


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT], ids=lambda name: name.name)
def test_signals_end_an_idle_server(setup, name):
    for example in EVERY:
        status, errors = Server(example, setup).stop(name)
        assert status == 0, errors


def test_a_restart_takes_the_same_port(setup):
    server = Server("echo", setup)
    with upgrade(server) as peer:
        server.process.send_signal(signal.SIGTERM)
        assert read_close(peer, False) == 1001
        peer.sendall(frame(CLOSE, b"\x03\xe9"))
        peer.shutdown(socket.SHUT_WR)
        assert server.stop()[0] == 0
        # The server has closed first: what the kernel keeps of the connection is on its side.
        with serving("echo", setup, server.authority) as again:
            assert again.authority == server.authority


def test_the_port_is_free_as_soon_as_the_process_has_ended(setup):
    listen = "127.0.0.1:0"
    for _ in range(20):
        with serving("echo", setup, listen) as server:
            listen = server.authority


def test_a_peer_that_says_nothing_does_not_hold_up_the_end():
    servers = [Server("echo", setup) for setup in SETUPS]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(upgrade(server)) for server in servers]
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
        for server, peer in zip(servers, peers):
            assert read_close(peer, False) == 1001
            assert server.stop()[0] == 0


def test_descriptors_are_given_back(setup):
    def descriptors(server):
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    with serving("echo", setup) as server:
        with upgrade(server):
            pass
        before = descriptors(server)
        peers = [upgrade(server) for _ in range(100)]
        assert descriptors(server) >= before
        for peer in peers:
            peer.close()
        until(lambda: descriptors(server) <= before + 1)
