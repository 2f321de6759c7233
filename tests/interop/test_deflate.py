"""Python's websockets against the echo example with compression, which must be agreed on."""

import contextlib
import random

import pytest
from conftest import BACKENDS, serving
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

MAX_PAYLOAD = 1 << 20


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(scope="module", params=["shared", "dedicated"])
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def server(backend, mode):
    options = ["--compression", mode, "--max-payload", str(MAX_PAYLOAD)]
    with serving("echo", (backend, 1), "127.0.0.1:0", *options) as server:
        yield server


@contextlib.contextmanager
def opened(server, **offer):
    factory = ClientPerMessageDeflateFactory(**offer)
    with connect(
        server.url, compression=None, extensions=[factory], max_size=2 * MAX_PAYLOAD, proxy=None
    ) as client:
        (extension,) = client.protocol.extensions
        assert extension.name == "permessage-deflate"
        yield client, extension


OFFERS = [
    {"client_max_window_bits": True},
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 9, "client_max_window_bits": 9},
    {"server_max_window_bits": 15, "client_max_window_bits": 12},
]


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_messages_come_back(server, mode, offer):
    draw = random.Random(1)
    words = ["käse", "brot", "wein", "and", "so on"]
    texts = [" ".join(draw.choices(words, k=count)) for count in (0, 1, 20, 200, 200, 20_000)]
    messages = [*texts, b"", draw.randbytes(1000), bytes(MAX_PAYLOAD), *texts]
    with opened(server, **offer) as (client, extension):
        keeps = mode == "dedicated" and "server_no_context_takeover" not in offer
        assert extension.remote_no_context_takeover != keeps
        assert extension.local_no_context_takeover != keeps
        bits = offer.get("server_max_window_bits", 15)
        assert extension.remote_max_window_bits <= bits
        for message in messages:
            client.send(message)
            assert client.recv() == message
        client.send([text or "-" for text in texts])
        assert client.recv() == "".join(text or "-" for text in texts)


def test_a_window_of_8_bits_is_declined(server):
    with connect(
        server.url,
        compression=None,
        extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=8)],
        proxy=None,
    ) as client:
        assert client.protocol.extensions == []
        client.send("still here")
        assert client.recv() == "still here"


def test_the_limit_holds_for_what_is_inflated(server):
    with opened(server) as (client, _):
        client.send(bytes(MAX_PAYLOAD + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        assert closed.value.rcvd.code == 1009


def test_broken_data_is_1007(server):
    # Sent as a compressed message without being one.
    with opened(server) as (client, extension):
        extension.encoder = Broken()
        extension.local_no_context_takeover = False
        client.send("x" * 100)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        assert closed.value.rcvd.code == 1007


class Broken:
    """Makes what no decompressor can read."""

    def compress(self, _data):
        return b"\x07" * 20

    def flush(self, _mode):
        return b"\x00\x00\xff\xff"
