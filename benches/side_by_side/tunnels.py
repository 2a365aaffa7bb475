"""Opens many tunnels to a relay and keeps them open, as a `listen` with nothing to do does: `tunnels.py PORT COUNT TOKEN`.

A line says that all are open. It ends when its standard input does, with a line that says how many were lost meanwhile.
"""

import asyncio
import base64
import resource
import sys

AT_ONCE = 100  # so many are being opened at a time
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, ACK = 4, 6, 1
CONTENT, WS_PING, WS_PONG = 2, 9, 10

HEAD = """GET /tunnel HTTP/1.1\r
Host: 127.0.0.1\r
Connection: Upgrade\r
Upgrade: websocket\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: {key}\r
Sec-WebSocket-Protocol: mbaas-dev.tunnel.v1\r
Authorization: Bearer {token}\r
mbaas-dev-listen-token: {number:064x}\r
mbaas-dev-has: 0\r
\r
"""


def message(kind, content):
    """A short message of a WebSocket. It is masked with zeros, which change nothing."""
    return bytes([0x80 | kind, 0x80 | len(content)]) + bytes(4) + content


def frame(kind, flags, payload=b""):
    """A frame of HTTP/2 for a whole connection, within a message."""
    return message(CONTENT, len(payload).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 0]) + payload)


class Tunnel(asyncio.Protocol):
    """One tunnel: it answers pings, of the WebSocket and of HTTP/2 where that is begun at once."""

    def __init__(self, head, lost):
        self.head, self.lost = head, lost
        self.opened = asyncio.get_running_loop().create_future()
        self.read, self.stream, self.is_open = bytearray(), bytearray(), False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.head)

    def connection_lost(self, _error):
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("it was closed"))
        self.lost.append(self)

    def data_received(self, data):
        self.read += data
        if not self.is_open and not self._answered():
            return
        while (read := self._message()) is not None:
            kind, content = read
            if kind == WS_PING:
                self.transport.write(message(WS_PONG, content))
            elif kind == CONTENT:
                self.stream += content
        if self.stream.startswith(PREFACE):
            del self.stream[:len(PREFACE)]
            self.transport.write(frame(SETTINGS, 0))
        while len(self.stream) >= 9 and len(self.stream) >= (length := 9 + int.from_bytes(self.stream[:3], "big")):
            kind, flags, payload = self.stream[3], self.stream[4], bytes(self.stream[9:length])
            del self.stream[:length]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.transport.write(frame(kind, ACK, payload if kind == PING else b""))

    def _answered(self):
        end = self.read.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self.read.startswith(b"HTTP/1.1 101"):
            self.opened.set_exception(ConnectionError(self.read[:end].decode(errors="replace")))
            return False
        del self.read[:end + 4]
        self.is_open = True
        self.opened.set_result(None)
        return True

    def _message(self):
        """The next message and of which kind it is, if it is there as a whole; those of a relay at rest are short."""
        if len(self.read) < 2:
            return None
        length, begin = self.read[1] & 0x7F, 2
        if length == 126:
            if len(self.read) < 4:
                return None
            length, begin = int.from_bytes(self.read[2:4], "big"), 4
        if len(self.read) < begin + length:
            return None
        kind, content = self.read[0] & 0x0F, bytes(self.read[begin:begin + length])
        del self.read[:begin + length]
        return kind, content


async def main(port, count, token):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop, lost, places = asyncio.get_running_loop(), [], asyncio.Semaphore(AT_ONCE)

    async def open_one(number):
        key = base64.b64encode(number.to_bytes(16, "big")).decode()
        head = HEAD.format(key=key, token=token, number=number).encode()
        async with places:
            _, tunnel = await loop.create_connection(lambda: Tunnel(head, lost), "127.0.0.1", port)
            await asyncio.wait_for(tunnel.opened, 60)

    await asyncio.gather(*(open_one(number) for number in range(1, count + 1)))
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(f"lost {len(lost)}", flush=True)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
