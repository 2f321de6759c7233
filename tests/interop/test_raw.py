"""What only a hand-made peer does, against the echo example."""

import socket
import struct

import pytest

from raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    exactly,
    frame,
    read_close,
    read_frame,
    request,
    response,
    upgrade,
)


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def test_bytes_right_behind_the_handshake(echo):
    with echo.connect() as peer:
        frames = frame(TEXT, b"early") + frame(BINARY, b"bird")
        peer.sendall(request(echo.authority) + frames)
        assert response(peer).status == 101
        assert read_frame(peer) == (TEXT, b"early")
        assert read_frame(peer) == (BINARY, b"bird")


def test_a_byte_at_a_time(echo):
    with echo.connect() as peer:
        for byte in request(echo.authority):
            peer.send(bytes([byte]))
        assert response(peer).status == 101
        text = "ünïcödé 漢字 🐟".encode()
        frames = frame(TEXT, text) + frame(TEXT, b"a", fin=False) + frame(PING, b"p")
        frames += frame(CONTINUATION, b"b") + frame(BINARY, b"x" * 300)
        for byte in frames:
            peer.send(bytes([byte]))
        assert read_frame(peer) == (TEXT, text)
        assert read_frame(peer) == (PONG, b"p")
        assert read_frame(peer) == (TEXT, b"ab")
        assert read_frame(peer) == (BINARY, b"x" * 300)


def test_ten_thousand_tiny_messages_at_once(echo):
    with upgrade(echo) as peer:
        messages = [b"%d" % number for number in range(10_000)]
        peer.sendall(b"".join(frame(TEXT, message) for message in messages))
        for message in messages:
            assert read_frame(peer) == (TEXT, message)


def test_a_message_cut_at_each_of_its_bytes(echo):
    text = frame(TEXT, "aß漢🐟".encode())
    with upgrade(echo) as peer:
        for cut in range(len(text) + 1):
            peer.sendall(text[:cut])
            peer.sendall(text[cut:])
            assert read_frame(peer) == (TEXT, "aß漢🐟".encode())


# What is wrong: the frames that do it, and the code that has to answer.
FAULTS = {
    "unmasked": (frame(TEXT, b"hello", mask=False), 1002),
    "reserved bit": (frame(TEXT, b"hello", rsv=4), 1002),
    "reserved opcode": (frame(3, b"hello"), 1002),
    "reserved control opcode": (frame(11, b"hello"), 1002),
    "fragmented ping": (frame(PING, b"", fin=False), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "new message within another": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "length in too many bytes": (struct.pack("!BBHI", 0x81, 0xFE, 5, 0) + b"hello", 1002),
    "close of one byte": (frame(CLOSE, b"x"), 1002),
    "close with a code for nobody": (close_frame(1005), 1002),
    "close with a code too low": (close_frame(999), 1002),
    "bad UTF-8": (frame(TEXT, b"\xc3\x28"), 1007),
    "bad UTF-8 of an unfinished message": (frame(TEXT, b"ok \xff", fin=False), 1007),
    "half a character at the end": (frame(TEXT, b"\xe6\xbc"), 1007),
    "bad UTF-8 in a close": (close_frame(1000, b"\xff"), 1007),
    "too big, by its header alone": (struct.pack("!BBQI", 0x82, 0xFF, 1 << 40, 0), 1009),
    "too big in fragments": (
        frame(BINARY, b"x" * 10_000, fin=False) + frame(CONTINUATION, b"x" * 10_000),
        1009,
    ),
}


@pytest.mark.parametrize("frames, code", FAULTS.values(), ids=FAULTS)
def test_faults_are_told(echo, frames, code):
    with upgrade(echo) as peer:
        peer.sendall(frame(TEXT, b"before"))
        assert read_frame(peer) == (TEXT, b"before")
        peer.sendall(frames)
        assert read_close(peer) == code


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
def test_a_close_is_answered_and_ends_the_connection(echo, code):
    with upgrade(echo) as peer:
        peer.sendall(frame(TEXT, b"hello") + close_frame(code, b"bye") + frame(TEXT, b"ignored"))
        assert read_frame(peer) == (TEXT, b"hello")
        assert read_close(peer) == code


def test_a_close_without_a_code(echo):
    with upgrade(echo) as peer:
        peer.sendall(frame(CLOSE))
        assert read_close(peer) is None


def test_a_reset_harms_nobody(echo):
    with upgrade(echo) as steady:
        for _ in range(20):
            peer = upgrade(echo)
            peer.sendall(frame(BINARY, b"x" * 16_384) * 50)
            # Closing now sends a reset: the echoes are not read.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        steady.sendall(frame(TEXT, b"still here"))
        assert read_frame(steady) == (TEXT, b"still here")


def test_one_who_never_reads_does_not_fill_the_memory(echo):
    def resident():
        with open(f"/proc/{echo.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    with upgrade(echo) as peer:
        before = resident()
        peer.settimeout(1)
        message = frame(BINARY, b"x" * 16_384)
        sent = 0
        try:
            while sent < 256 << 20:
                sent += peer.send(message * 16)
        except TimeoutError:
            pass
        assert sent < 256 << 20, "the server takes whatever it is sent"
        assert resident() - before < 64 << 20
        # The other side reads after all: everything up to the cut frame comes back.
        peer.settimeout(20)
        for _ in range(sent // len(message)):
            opcode, payload = read_frame(peer)
            assert (opcode, len(payload)) == (BINARY, 16_384)


def test_pings_without_end_do_not_fill_the_memory(echo):
    with upgrade(echo) as peer:
        peer.settimeout(1)
        pings = frame(PING, b"x" * 125) * 1000
        sent = 0
        try:
            while sent < 256 << 20:
                sent += peer.send(pings)
        except (TimeoutError, ConnectionError):
            return  # it waits for us to read, or has had enough
        pytest.fail("the server takes pings without end")


def test_exactly_the_limit(echo):
    with upgrade(echo) as peer:
        peer.sendall(frame(BINARY, b"x" * 16_384))
        assert read_frame(peer) == (BINARY, b"x" * 16_384)
        half = frame(BINARY, b"x" * 8_192, fin=False)
        peer.sendall(half + frame(CONTINUATION, b"x" * 8_192))
        assert read_frame(peer) == (BINARY, b"x" * 16_384)
        peer.sendall(frame(BINARY, b"x" * 16_385))
        assert read_close(peer) == 1009


def test_nothing_precedes_the_first_byte(echo):
    with upgrade(echo) as peer:
        peer.sendall(frame(PING, b"first"))
        assert exactly(peer, 7) == b"\x8a\x05first"
