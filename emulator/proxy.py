"""The CONNECT proxy: Azure's host names lead here, everything that must not be reached is refused.

With `HTTPS_PROXY` pointing at it, a client keeps Azure's public host names and needs no DNS entry. It is an egress guard too:
an Azure host that the emulator does not serve, and every loopback, private or link-local target, is answered 403 and logged.
Other public hosts are passed through, so that the same process can still use a package index or a model hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from dataclasses import dataclass, field

from emulator.hosts import is_azure, service_of
from emulator.installation import Installation

log = logging.getLogger("emulator.proxy")

HEAD_LIMIT = 32 * 1024  # bytes of request line and headers
HEAD_SECONDS = 10.0  # for a client to send them
CHUNK = 64 * 1024
TARGET = re.compile(r"\A(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]{1,253})):(?P<port>\d{1,5})\Z")


class Refused(Exception):
    """The request gets `status` and one sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True)
class Proxy:
    """Tunnels to the emulator's TLS server at 127.0.0.1:`tls_port`."""

    installation: Installation
    tls_port: int
    _tunnels: dict[int, asyncio.StreamWriter] = field(default_factory=dict)

    def reset(self, port: int) -> None:
        """Cuts the client whose tunnel reaches the TLS server from `port`: it sees its connection reset."""
        if client := self._tunnels.get(port):
            client.transport.abort()

    def close(self) -> None:
        """Cuts every tunnel."""
        for client in list(self._tunnels.values()):
            client.transport.abort()

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Handles one client connection; the callback of `asyncio.start_server`."""
        upstream: asyncio.StreamWriter | None = None
        try:
            host, port = await self._read_target(client)
            reader, upstream = await self._connect(host, port)
            self._tunnels[upstream.get_extra_info("sockname")[1]] = answer
            answer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await answer.drain()
            await _tunnel(client, answer, reader, upstream)
        except Refused as refusal:
            await _refuse(answer, refusal)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass  # either side went away: nobody is left to tell
        finally:
            if upstream is not None:
                self._tunnels.pop(upstream.get_extra_info("sockname")[1], None)
                upstream.close()
            answer.close()

    async def _read_target(self, client: asyncio.StreamReader) -> tuple[str, int]:
        try:
            head = await asyncio.wait_for(client.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        except asyncio.LimitOverrunError:
            raise Refused("431 Request Header Fields Too Large", "The request's headers are too large.") from None
        except TimeoutError:
            raise Refused("408 Request Timeout", "The request's headers did not arrive in time.") from None
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Refused("400 Bad Request", "This is not an HTTP/1.1 request.")
        if words[0] != "CONNECT":
            raise Refused("405 Method Not Allowed", "This proxy tunnels TLS only: use it as HTTPS_PROXY, with CONNECT.")
        target = TARGET.match(words[1])
        if target is None or not 0 < int(target["port"]) < 65536:
            raise Refused("400 Bad Request", "CONNECT needs a target of the form host:port.")
        return target["v6"] or target["host"], int(target["port"])

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if service_of(host, self.installation) is not None and port == 443:
            return await asyncio.open_connection("127.0.0.1", self.tls_port)
        if is_azure(host):
            log.warning("refused %s:%d: an Azure host that this emulator does not serve", host, port)
            raise Refused("403 Forbidden", f"The emulator does not serve {host}:{port} and lets no call reach Azure.")
        address = await _public_address(host, port)
        log.info("passing through to %s:%d", host, port)
        try:
            return await asyncio.wait_for(asyncio.open_connection(address, port), HEAD_SECONDS)
        except (OSError, TimeoutError):
            raise Refused("502 Bad Gateway", f"{host}:{port} could not be reached.") from None


async def _public_address(host: str, port: int) -> str:
    """Resolves `host` once and returns the address to use, so that what was checked is what is connected to."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("502 Bad Gateway", f"{host} could not be resolved.") from None
    addresses = [str(info[4][0]) for info in found]
    if not all(ipaddress.ip_address(address.split("%")[0]).is_global for address in addresses):
        log.warning("refused %s:%d: a loopback, private or link-local target", host, port)
        raise Refused("403 Forbidden", f"{host}:{port} is a loopback, private or link-local target.")
    return addresses[0]


async def _refuse(answer: asyncio.StreamWriter, refusal: Refused) -> None:
    body = (refusal.sentence + "\n").encode()
    head = f"HTTP/1.1 {refusal.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        answer.write(head.encode() + body)
        await answer.drain()


def _acknowledge(sender: asyncio.StreamWriter) -> None:
    """Has the kernel acknowledge at once what a client sent.

    urllib3 leaves Nagle's algorithm on towards a proxy: a request's body, sent after its headers, would wait the 40 ms by which
    Linux delays that acknowledgement.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):
            sender.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


async def _tunnel(
    client: asyncio.StreamReader,
    answer: asyncio.StreamWriter,
    server: asyncio.StreamReader,
    upstream: asyncio.StreamWriter,
) -> None:
    """Carries bytes both ways until both sides have closed."""
    await asyncio.gather(_pump(client, upstream, answer), _pump(server, answer))


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, sender: asyncio.StreamWriter | None = None
) -> None:
    try:
        while data := await source.read(CHUNK):
            if sender is not None:
                _acknowledge(sender)
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        # Half-close: the other direction may still carry an answer.
        with contextlib.suppress(OSError, RuntimeError):
            if sink.can_write_eof() and not sink.is_closing():
                sink.write_eof()
