"""Bodies of responses, without I/O: unpacked as they arrive, and bounded before they are unpacked or parsed.

A hostile or broken server, or a proxy in between, may send more than memory holds: as it is, packed a thousand times
smaller, or as JSON that grows when it is parsed. Whatever it sends, a call ends with a result or a `NodusError`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Protocol

import pydantic

from ._errors import APIError

MAX_JSON_BYTES = 32 * 1024 * 1024
"""How large JSON may be, unpacked. A page of 200 jobs is about 200 KiB."""

MAX_LOG_BYTES = 256 * 1024 * 1024
"""How large output that is read whole may be: four times the longest output of a job."""

MAX_ERROR_BYTES = 256 * 1024
"""How large the body of an error may be; a larger one is left out of the error."""

MAX_PARSED_BYTES = 64 * 1024 * 1024
"""How much memory parsing a body may take, beside the body itself."""

# One value takes at most 450 bytes (measured: an item that is refused, with what pydantic notes down about it), or
# 1,300 before pydantic 2.8, which cannot stop at the first. In a page of jobs it takes 60, as the page stops there.
_STOPS_EARLY = hasattr(pydantic, "FailFast")
MAX_VALUES = 140_000 if _STOPS_EARLY else 50_000
"""How many values a JSON body may hold, counted roughly. A page of 200 jobs has about 6,000."""

MAX_PAGE_VALUES = 300_000 if _STOPS_EARLY else MAX_VALUES
"""How many values a page of jobs may hold: enough for 10,000 jobs at once, from a server without a limit of its own."""

MAX_PAGE_ITEMS = 20_000
"""How many jobs a page may hold: each takes about 1,800 bytes."""

ALWAYS_SMALL_BYTES = 128 * 1024
"""A body up to this size costs less than `MAX_PARSED_BYTES` to parse, whatever is in it."""

_MAX_WIDTH = 4
"""How many bytes Python takes for a character, at most: one that is not ASCII widens its whole string."""

_SLICE_BYTES = 4 * 1024
"""How much is unpacked at a time: it grows to at most about a thousand times that."""

NOT_ENOUGH_MEMORY = "there is not enough memory for it"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FIRST_OF_MARK = _BYTE_ORDER_MARK[:1]
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class BodyReader:
    """Collects one body, unpacked, up to a limit.

    Args:
        headers: of the response; names in lower case, or a mapping that ignores case.
        limit: how many bytes to take, before and after unpacking.

    Attributes:
        problem: why the body cannot be used; None if nothing is wrong so far. The rest need not be read then.
    """

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        self.problem: str | None = None
        self._limit = limit
        self._received = 0
        self._content: bytes | bytearray = b""
        self._unpacker: _Unpacker | None = None
        if "content-encoding" in headers:
            self._expect(content_codings(headers))

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, as they arrived."""
        self._received += len(chunk)
        if self.problem is not None:
            return
        try:
            if self._received > self._limit:
                self._refuse_size()
            elif self._unpacker is None:
                self._keep(chunk)
            else:
                self._unpack(self._unpacker, chunk)
        except MemoryError:  # the machine has less memory than the limits allow
            self._refuse(NOT_ENOUGH_MEMORY)

    def finish(self) -> bytes:
        """Return the body, once all of it has arrived; empty if there is a problem with it."""
        if self.problem is None and self._unpacker is not None and self._received:
            self.problem = self._unpacker.problem_at_end()
        content, self._content = self._content, b""
        if self.problem is not None and self._received:
            return b""
        self.problem = None  # an empty body is empty, whatever its headers say
        try:
            return bytes(content)
        except MemoryError:
            self.problem = NOT_ENOUGH_MEMORY
            return b""

    def _expect(self, codings: list[str]) -> None:
        if len(codings) > 1:
            self.problem = f"it is packed more than once ({_shown(codings)}), which the SDK does not ask for"
        elif codings and codings[0] not in _UNPACKERS:
            self.problem = (
                f"it is packed with {_shown(codings)}, which the SDK neither asks for nor knows; a proxy on the way "
                "may have done that"
            )
        elif codings:
            self._unpacker = _Unpacker(codings[0])

    def _unpack(self, unpacker: _Unpacker, chunk: bytes) -> None:
        for start in range(0, len(chunk), _SLICE_BYTES):
            room = self._limit - len(self._content) + 1
            try:
                self._keep(unpacker.feed(chunk[start : start + _SLICE_BYTES], room))
            except ValueError as exc:
                self._refuse(str(exc))
                return
            if len(self._content) > self._limit:
                self._refuse_size()
                return

    def _keep(self, piece: bytes) -> None:
        if not self._content:
            self._content = piece
            return
        if not isinstance(self._content, bytearray):
            self._content = bytearray(self._content)
        self._content += piece

    def _refuse_size(self) -> None:
        self._refuse(f"a body of more than {_size(self._limit)}")

    def _refuse(self, problem: str) -> None:
        self.problem = problem
        self._content = b""
        self._unpacker = None


class _Inflater(Protocol):
    """What `zlib.decompressobj` returns."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Unpacker:
    """Undoes one content coding, a bounded piece at a time."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._window = _UNPACKERS[coding]
        self._begun = b""
        self._inflater: _Inflater | None = None

    def feed(self, packed: bytes, max_bytes: int) -> bytes:
        """Unpack the next bytes, into at most `max_bytes`, 1 or more: what would be more is lost.

        Raises:
            ValueError: they are not packed in this way.
        """
        if self._inflater is None:
            packed = self._begun = self._begun + packed
            if len(packed) < 2:
                return b""
            # "deflate" means zlib's format (RFC 9110, section 8.4.1.2), but some servers leave out its head.
            is_bare = self._window == _ZLIB and (packed[0] & 15 != 8 or int.from_bytes(packed[:2], "big") % 31 != 0)
            self._inflater = zlib.decompressobj(_RAW_DEFLATE if is_bare else self._window)
        try:
            piece = self._inflater.decompress(packed, max_bytes)
        except zlib.error:
            raise ValueError(f"it is not packed with {self._coding}, although it is said to be") from None
        if self._inflater.unused_data:
            raise ValueError(f"something follows what is packed with {self._coding}")
        return piece

    def problem_at_end(self) -> str | None:
        if self._inflater is not None and self._inflater.eof:
            return None
        return f"it ends in the middle of what is packed with {self._coding}"


_UNPACKERS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


def content_codings(headers: Mapping[str, str]) -> list[str]:
    """Return how a body is packed, in the order in which it was; empty if it is not."""
    names = (name.strip().lower() for name in headers.get("content-encoding", "").split(","))
    return [name for name in names if name not in ("", "identity")]


def refusal_of_stream(headers: Mapping[str, str]) -> str | None:
    """Say why a body cannot be read as it arrives; None if it can."""
    codings = content_codings(headers)
    return f"a stream that is packed with {_shown(codings)}, which the SDK does not ask for" if codings else None


def unusable(status: int, problem: str, request_id: str | None) -> APIError:
    """The error for a body that was not read, or not to its end."""
    what = problem if problem.startswith("a ") else f"a body that cannot be used: {problem}"
    return APIError(
        f"The server answered {status} with {what}.",
        code="invalid_response",
        status_code=status,
        request_id=request_id,
        outcome_unknown=True,
    )


def json_of(content: bytes) -> bytes:
    """Return the JSON in a body: some servers send a byte order mark before it, which RFC 8259 lets readers skip."""
    return content[3:] if content[:3] == _BYTE_ORDER_MARK else content


def cost_problem(content: bytes, max_values: int) -> str | None:
    """Say why parsing JSON would take too much memory; None if it would not.

    Args:
        content: the JSON.
        max_values: how many values would take `MAX_PARSED_BYTES`.
    """
    size = len(content)
    if size <= ALWAYS_SMALL_BYTES:
        return None
    # Every value but the first follows one of these, or is what one of these begins. Those in strings count too, so
    # that this stays cheap: JSON that people need is far from the limit.
    values = size - len(content.translate(None, b"{[,"))
    if values > max_values:
        return f"more than {max_values:,} values"
    widens = size * _MAX_WIDTH > MAX_PARSED_BYTES // 2 and not (content.isascii() and b"\\u" not in content)
    text_bytes = size * _MAX_WIDTH if widens else size
    if values / max_values * MAX_PARSED_BYTES + text_bytes > MAX_PARSED_BYTES:
        return f"{values:,} values in {_size(size)} of text, which would take more than {_size(MAX_PARSED_BYTES)}"
    return None


def _shown(codings: list[str]) -> str:
    return ", ".join(codings)[:64]


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
