"""Starts an example and stops it again, for the tests in Python.

SOCKEYE_EXAMPLES names the folder of the built examples (target/release/examples), and
SOCKEYE_BACKENDS the backends to test (uring and epoll).
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
EXAMPLES = pathlib.Path(os.environ.get("SOCKEYE_EXAMPLES") or TARGET / "release/examples")
BACKENDS = os.environ.get("SOCKEYE_BACKENDS", "uring epoll").replace(",", " ").split()
NAMES = {"uring": "io_uring", "epoll": "epoll"}
SETUPS = [(backend, workers) for backend in BACKENDS for workers in (1, 2)]
PATIENCE = 60


class Server:
    """An example that says where it listens."""

    def __init__(self, example, setup, listen="127.0.0.1:0", *options):
        backend, workers = setup
        command = [EXAMPLES / example, "--listen", listen, "--backend", backend]
        command += ["--workers", str(workers), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ended = None
        self.ready = self.process.stdout.readline()
        if NAMES[backend] not in self.ready:
            self.process.kill()
            pytest.fail(f"{example} on {backend}: {self.ready!r} {self.process.communicate()}")
        words = self.ready.split()
        self.url = next((word for word in words if word.startswith("ws://")), "").rstrip("/")
        self.authority = self.url.removeprefix("ws://").split("/")[0]
        if self.url:
            host, port = self.authority.rsplit(":", 1)
            self.address = (host.strip("[]"), int(port))

    def connect(self):
        """A raw connection, with an allowance for a slow server but not for a silent one."""
        peer = socket.create_connection(self.address, PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return peer

    def stop(self, name=signal.SIGTERM):
        """Ends it; the exit status and what it wrote to standard error."""
        if self.ended:
            return self.ended
        if self.process.poll() is None:
            self.process.send_signal(name)
        try:
            _, errors = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.ended = (self.process.returncode, errors)
        return self.ended


@contextlib.contextmanager
def serving(example, setup, listen="127.0.0.1:0", *options):
    """Runs the example; it has to end well."""
    server = Server(example, setup, listen, *options)
    try:
        yield server
    finally:
        status, errors = server.stop()
    assert status == 0, errors


@pytest.fixture(scope="module", params=SETUPS, ids=lambda setup: f"{setup[0]}-{setup[1]}")
def setup(request):
    return request.param


@pytest.fixture(scope="module")
def echo(setup):
    """The echo example with the limits it has by itself."""
    with serving("echo", setup) as server:
        yield server


@pytest.fixture(scope="module")
def big_echo(setup):
    """The echo example for messages of up to 64 MiB."""
    with serving("echo", setup, "127.0.0.1:0", "--max-payload", str(64 << 20)) as server:
        yield server


def until(condition, seconds=PATIENCE):
    """Waits until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
