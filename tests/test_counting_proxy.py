"""Requests are counted once each, however a connection cuts them into parts."""

from __future__ import annotations

from benchmarks.counting_proxy import Requests
from hypothesis import given
from hypothesis import strategies as st


def request(target: str, body: bytes) -> bytes:
    """One request, which only says how long its body is where it has one."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"POST {target} HTTP/1.1\r\nHost: engine\r\n{length}\r\n".encode() + body


@given(bodies=st.lists(st.binary(max_size=30), max_size=8), size=st.integers(1, 90))
def test_requests_are_found_however_they_come(bodies: list[bytes], size: int) -> None:
    """Also where several come at once, or a body looks like a request."""
    sent = b"".join(request(f"/{number}", body) for number, body in enumerate(bodies))
    requests = Requests()
    found = [each for at in range(0, len(sent), size) for each in requests.feed(sent[at : at + size])]

    assert found == [f"POST /{number}" for number in range(len(bodies))]


def test_a_body_is_no_request() -> None:
    """Whatever stands in it."""
    inner = request("/inner", b"")

    assert Requests().feed(request("/outer", inner) + request("/next", b"")) == ["POST /outer", "POST /next"]
