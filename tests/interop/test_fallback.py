"""Where io_uring is forbidden: `auto` serves with epoll and says why, `uring` says what to do."""

import errno
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

from conftest import EXAMPLES, PATIENCE
from raw import TEXT, frame, read_frame, request, response

FORBIDDEN = pathlib.Path(__file__).resolve().parent / "forbidden.py"

# What containers and kernels answer, and what has to be said about it.
REASONS = {
    errno.EPERM: "forbidden here",
    errno.ENOSYS: "not implemented",
    errno.ENOMEM: "ulimit -l",
}


def command(error, backend):
    run = [sys.executable, FORBIDDEN, str(error), EXAMPLES / "echo", "--listen", "127.0.0.1:0"]
    return [*run, "--workers", "2", *backend]


@pytest.mark.parametrize("error", REASONS, ids=errno.errorcode.get)
@pytest.mark.parametrize("backend", [[], ["--backend", "auto"]], ids=["default", "auto"])
def test_auto_falls_back_and_says_why(error, backend):
    process = subprocess.Popen(
        command(error, backend), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        ready = process.stdout.readline()
        assert "(epoll, 2 workers)" in ready
        url = next(word for word in ready.split() if word.startswith("ws://"))
        authority = url.removeprefix("ws://").rstrip("/")
        host, port = authority.rsplit(":", 1)
        for _ in range(8):
            with socket.create_connection((host, int(port)), PATIENCE) as peer:
                peer.sendall(request(authority) + frame(TEXT, b"hello"))
                assert response(peer).status == 101
                assert read_frame(peer) == (TEXT, b"hello")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, log
    [line] = log.splitlines()
    assert "io_uring" in line and REASONS[error] in line


@pytest.mark.parametrize("error", REASONS, ids=errno.errorcode.get)
def test_uring_says_what_to_do(error):
    run = subprocess.run(
        command(error, ["--backend", "uring"]), capture_output=True, text=True, timeout=PATIENCE
    )
    assert run.returncode == 1
    assert run.stdout == ""
    [line] = run.stderr.splitlines()
    assert line.startswith("error: io_uring") and REASONS[error] in line
    assert "`auto`" in line and "`epoll`" in line
