"""WebSocket by hand: what a proper client never sends."""

import base64
import hashlib
import http.client
import os
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(hashlib.sha1(KEY + GUID).digest()).decode()
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def request(host, method="GET", target="/", **changes):
    """An opening handshake. A change names a field (with _ for -); None leaves it out."""
    fields = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY.decode(),
        "Sec-WebSocket-Version": "13",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def response(peer, method="GET"):
    """The next HTTP response. Reads nothing beyond it."""
    answer = http.client.HTTPResponse(Unbuffered(peer), method=method)
    answer.begin()
    answer.content = b"" if answer.status == 101 else answer.read()
    return answer


class Unbuffered:
    """A socket whose file takes byte by byte, and leaves the rest in the socket."""

    def __init__(self, peer):
        self.peer = peer

    def makefile(self, _mode):
        return ByteFile(self.peer)


class ByteFile:
    def __init__(self, peer):
        self.peer = peer

    def readline(self, limit=-1):
        line = b""
        while not line.endswith(b"\n") and len(line) != limit:
            byte = self.peer.recv(1)
            if not byte:
                break
            line += byte
        return line

    def read(self, count=-1):
        data = b""
        while count < 0 or len(data) < count:
            more = self.peer.recv(count - len(data) if count > 0 else 65536)
            if not more:
                break
            data += more
        return data

    def flush(self):
        pass

    def close(self):
        pass


def upgrade(server, **changes):
    """A raw connection behind its handshake."""
    peer = server.connect()
    peer.sendall(request(server.authority, **changes))
    answer = response(peer)
    assert answer.status == 101
    assert answer.getheader("Sec-WebSocket-Accept") == ACCEPT
    return peer


def frame(opcode, payload=b"", fin=True, mask=True, rsv=0):
    head = struct.pack("!B", fin << 7 | rsv << 4 | opcode)
    flag = mask << 7
    if len(payload) < 126:
        head += struct.pack("!B", flag | len(payload))
    elif len(payload) < 65536:
        head += struct.pack("!BH", flag | 126, len(payload))
    else:
        head += struct.pack("!BQ", flag | 127, len(payload))
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + number.to_bytes(len(payload), "big")


def exactly(peer, count):
    data = bytearray()
    while len(data) < count:
        more = peer.recv(count - len(data))
        assert more, f"the connection ended after {len(data)} bytes of {count}"
        data += more
    return bytes(data)


def read_frame(peer):
    """(opcode, payload) of the next frame, which must be whole and unmasked."""
    first, second = exactly(peer, 2)
    assert first & 0x70 == 0, "reserved bits"
    assert first & 0x80, "a fragment"
    assert second & 0x80 == 0, "a masked frame from a server"
    length = second
    if length == 126:
        (length,) = struct.unpack("!H", exactly(peer, 2))
        assert length > 125, "a length that is longer than it needs to be"
    elif length == 127:
        (length,) = struct.unpack("!Q", exactly(peer, 8))
        assert length > 65535, "a length that is longer than it needs to be"
    return first & 0x0F, exactly(peer, length)


def read_close(peer, is_last=True):
    """The code of the close that is next, None if it has none, and then the end of the stream."""
    opcode, payload = read_frame(peer)
    assert opcode == CLOSE, f"opcode {opcode} instead of a close: {payload[:40]!r}"
    assert len(payload) != 1
    if is_last:
        assert peer.recv(1) == b"", "something follows the close"
    return struct.unpack("!H", payload[:2])[0] if payload else None
