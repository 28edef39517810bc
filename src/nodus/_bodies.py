"""Whole response bodies: decompressed if need be, and never larger than fits in memory comfortably."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from ._errors import APIError

MAX_BYTES = 256 * 1024 * 1024
"""Four times the longest output of a job; only a broken server or proxy sends more."""

_SLICE_BYTES = 16 * 1024
"""How much is decompressed at a time: it grows to at most about a thousand times that."""


def check_size(size: int, response: httpx.Response) -> None:
    """Check that a body may be read further.

    Raises:
        APIError: (`invalid_response`) it is too large already.
    """
    if size > MAX_BYTES:
        raise APIError(
            f"The server answered {response.status_code} with a body of more than {MAX_BYTES >> 20} MiB.",
            code="invalid_response",
            status_code=response.status_code,
            request_id=response.headers.get("x-request-id"),
            outcome_unknown=True,
        )


def unpacked(content: bytes, response: httpx.Response) -> bytes:
    """Undo the `Content-Encoding` of a body.

    Raises:
        APIError: (`invalid_response`) it is too large.
        httpx.DecodingError: it is not encoded as it says.
    """
    parts: list[bytes] = []
    size = 0
    packed = httpx.Response(response.status_code, headers=response.headers, stream=_Slices(content))
    for part in packed.iter_bytes():
        parts.append(part)
        size += len(part)
        check_size(size, response)
    return b"".join(parts)


class _Slices(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), _SLICE_BYTES):
            yield self._content[start : start + _SLICE_BYTES]
