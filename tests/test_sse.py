"""Reading event streams: as the WHATWG says, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._sse import MAX_EVENT_BYTES, EventStreamParser, ServerSentEvent

LINES = st.sampled_from(
    [
        "",
        "data",
        "data:",
        "data: one",
        "data:two",
        "data:  three ",
        "data: ö…\u2028 😀",
        "event: status",
        "event",
        "id: 7",
        "id",
        "id: a\0b",
        "retry: 1500",
        "retry: 15x",
        ": a comment",
        "unknown: field",
        "data : not data",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=30)


def events(*chunks: bytes) -> list[ServerSentEvent]:
    """Read a stream that comes in these pieces."""
    parser = EventStreamParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def by_the_book(text: str) -> tuple[list[ServerSentEvent], str]:
    """Read a whole stream line by line, in the words of the specification."""
    found: list[ServerSentEvent] = []
    kind, data, last_id, last_at_blank = "", "", "", ""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines[:-1]:
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if line == "":
            last_at_blank = last_id
            if data:
                found.append(ServerSentEvent(kind or "message", data[:-1], last_id))
            kind, data = "", ""
        elif field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
    return found, last_at_blank


@given(st.booleans(), STREAMS, st.data())
def test_a_stream_reads_the_same_however_it_is_cut(
    has_mark: bool, lines: list[tuple[str, str]], data: st.DataObject
) -> None:
    """It may be cut inside a character, a line end or the byte order mark."""
    # A line that ends with a carriage return, and an empty one that ends with a line feed, would be one line end.
    text = "".join(line + end for line, end in lines)
    stream = ("\ufeff" if has_mark else "").encode() + text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    parser = EventStreamParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    expected, last_id = by_the_book(stream.decode())

    assert found == expected
    assert parser.last_event_id == last_id


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(stream: bytes) -> None:
    """Any bytes are read, and byte by byte with the same result as at once."""
    assert events(*(stream[at : at + 1] for at in range(len(stream)))) == events(stream)


def test_an_id_without_an_event_counts() -> None:
    """A server may send one at the beginning, to say where the stream starts."""
    parser = EventStreamParser()
    found = parser.feed(b"id: 41\n\nid: 42\n")

    assert (found, parser.last_event_id) == ([], "41")


def test_an_id_stays_in_force() -> None:
    """This includes the id of the stream that is resumed."""
    parser = EventStreamParser("9")

    assert [event.id for event in parser.feed(b"data: x\n\nid: 10\ndata: y\n\ndata: z\n\n")] == ["9", "10", "10"]


def test_the_server_may_ask_for_time() -> None:
    """`retry:` is in milliseconds; other values are ignored."""
    parser = EventStreamParser()
    parser.feed(b"retry: 2500\nretry: soon\nretry: -1\n")

    assert parser.retry_seconds == 2.5


def test_an_event_that_is_not_finished_is_none() -> None:
    """The connection may have broken in the middle of it."""
    assert events(b"data: one\n\ndata: two\n") == [ServerSentEvent("message", "one", "")]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_an_event_has_an_end(piece: bytes) -> None:
    """A line or an event without end is refused, so that it does not fill memory."""
    pieces = [piece] * (MAX_EVENT_BYTES // len(piece) + 2)
    with pytest.raises(ValueError, match="more than"):
        events(*pieces)


@pytest.mark.parametrize(("length", "expected"), [(256, "x" * 256), (257, "before"), (900_000, "before")])
def test_an_id_that_is_too_long_is_ignored(length: int, expected: str) -> None:
    """It would be sent back in a header; the one before stays in force."""
    parser = EventStreamParser()
    events = parser.feed(b"id: before\n\nid: " + b"x" * length + b"\ndata: d\n\n")

    assert (parser.last_event_id, [event.id for event in events]) == (expected, [expected])
