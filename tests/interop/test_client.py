"""Python's websockets against the echo example."""

import asyncio
import contextlib
import os

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from conftest import PATIENCE, serving

MESSAGES = ["hello", "ünïcödé 漢字 🐟", "", b"", b"\x00\xff", "x" * 16_000, b"y" * 16_384]


def test_text_binary_and_empty(echo):
    with connect(echo.url) as client:
        for message in MESSAGES:
            client.send(message)
        for message in MESSAGES:
            assert client.recv(PATIENCE) == message


def test_64_mib(big_echo):
    message = os.urandom(64 << 20)
    with connect(big_echo.url, max_size=None, compression=None) as client:
        client.send(message)
        assert client.recv(PATIENCE) == message


def test_fragments(big_echo):
    with connect(big_echo.url, max_size=None) as client:
        client.send(["one ", "two ", "", "three"])
        assert client.recv(PATIENCE) == "one two three"
        parts = [os.urandom(1009) for _ in range(1000)]
        client.send(parts)
        assert client.recv(PATIENCE) == b"".join(parts)


def test_pings(echo):
    with connect(echo.url) as client:
        pongs = [client.ping(payload) for payload in ("one", "two", b"\x00" * 125)]
        # RFC 6455 §5.5.3: of several pings the last may be answered alone.
        assert pongs[-1].wait(PATIENCE)
        client.pong("nobody asked")
        client.send("still here")
        assert client.recv(PATIENCE) == "still here"


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close_codes(echo, code):
    with connect(echo.url) as client:
        client.close(code, "a reason")
    assert client.protocol.close_rcvd.code == code


def test_nothing_is_negotiated(echo):
    with connect(echo.url, subprotocols=["chat", "superchat"]) as client:
        assert client.subprotocol is None
        assert client.protocol.extensions == []
        client.send("hello")
        assert client.recv(PATIENCE) == "hello"


def test_origins(echo):
    with connect(echo.url, origin=f"http://{echo.authority}") as client:
        client.send("hello")
        assert client.recv(PATIENCE) == "hello"
    for origin in "http://elsewhere.example", "null", "http://127.0.0.1:1":
        with pytest.raises(InvalidStatus) as refusal, connect(echo.url, origin=origin):
            pass
        assert refusal.value.response.status_code == 403


def test_too_long_a_message(echo):
    with connect(echo.url) as client:
        client.send(b"x" * 16_385)
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv(PATIENCE)
        assert closed.value.rcvd.code == 1009


def test_many_at_once(echo):
    async def converse(number):
        async with connect_async(echo.url, open_timeout=PATIENCE) as client:
            for count in range(20):
                await client.send(f"{number} {count}")
                assert await client.recv() == f"{number} {count}"

    async def all_of_them():
        await asyncio.gather(*(converse(number) for number in range(200)))

    asyncio.run(all_of_them())


def test_shutdown(setup):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("echo", setup))
        clients = [stack.enter_context(connect(server.url)) for _ in range(10)]
        clients[0].send("last words")
        assert clients[0].recv(PATIENCE) == "last words"
        status, errors = server.stop()
        assert status == 0, errors
        for client in clients:
            with pytest.raises(ConnectionClosedOK) as closed:
                client.recv(PATIENCE)
            assert closed.value.rcvd.code == 1001


@pytest.mark.parametrize("mode", ["shared", "dedicated"])
def test_compression(setup, mode):
    messages = [*MESSAGES, "it compresses well " * 800] * 3
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("echo", setup, "127.0.0.1:0", "--compression", mode))
        client = stack.enter_context(connect(server.url))
        assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
        for message in messages:
            client.send(message)
        for message in messages:
            assert client.recv(PATIENCE) == message
        client.send(["it ", "compresses ", "in pieces"])
        assert client.recv(PATIENCE) == "it compresses in pieces"
