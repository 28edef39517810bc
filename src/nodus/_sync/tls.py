# Generated from src/nodus/_async/tls.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""TLS over anything that carries bytes: over a socket, or over the TLS of an https proxy."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol, TypeVar

_Result = TypeVar("_Result")

_CHUNK_BYTES = 64 * 1024


class Channel(Protocol):
    """What carries bytes both ways."""

    @property
    def is_readable(self) -> bool: ...

    def receive(self, max_bytes: int) -> bytes: ...

    def send(self, data: bytes) -> None: ...


class TLS:
    """The client's end of a TLS connection.

    Args:
        channel: what carries the encrypted bytes.
        context: trusted certificates, versions and ciphers.
        server_hostname: the name that the certificate must be for.

    Raises:
        ValueError: the name cannot be one.
    """

    def __init__(self, channel: Channel, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._channel = channel
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    def handshake(self) -> None:
        """Agree on keys, and check the server's certificate.

        Raises:
            ssl.SSLError: there is nothing to agree on, or the certificate is not good, or the peer has hung up.
        """
        self._drive(self.ssl_object.do_handshake)

    def receive(self, max_bytes: int) -> bytes:
        """Return the next bytes; none at the end, even where the peer did not say goodbye: HTTP knows by itself."""
        try:
            return self._drive(lambda: self.ssl_object.read(max_bytes))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as exc:
            if "UNEXPECTED_EOF_WHILE_READING" in str(exc):
                return b""
            raise

    def send(self, data: bytes) -> None:
        """Write all bytes."""
        self._drive(lambda: self.ssl_object.write(data))

    @property
    def is_readable(self) -> bool:
        """Whether something has come that was not read: bytes, or the end, or a part of either."""
        return bool(self._incoming.pending or self.ssl_object.pending() or self._channel.is_readable)

    def _drive(self, step: Callable[[], _Result]) -> _Result:
        """Do a step of the protocol, moving encrypted bytes to and from the peer until it is done."""
        while True:
            result: list[_Result] = []
            try:
                result.append(step())
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                # The peer is told why, as far as it still listens.
                self._flush()
                raise
            self._flush()
            if result:
                return result[0]
            received = self._channel.receive(_CHUNK_BYTES)
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._channel.send(self._outgoing.read())
