"""What the playground's inbox keeps, and what it lets go."""

from __future__ import annotations

from nodus_control.webhooks.inbox import Inbox, Received


def received(name: str, body: bytes, headers: int = 0) -> Received:
    """Make a delivery."""
    return Received(name, 0, [(b"x", b"y" * headers)] if headers else [], body)


def bodies(inbox: Inbox) -> list[bytes]:
    """Return what is kept, by its first byte."""
    return [each.body[:1] for each in inbox.all()]


def test_the_oldest_make_room() -> None:
    """By number, and by the bytes of all names together."""
    few, small = Inbox(most=2), Inbox(most_bytes=10_000)
    for body in (b"a", b"b", b"c"):
        few.add(received("x", body))
    for name, body in (("x", b"a"), ("y", b"b"), ("z", b"c")):
        small.add(received(name, body * 3000))

    assert bodies(few) == [b"b", b"c"]
    assert bodies(small) == [b"b", b"c"]


def test_one_name_does_not_push_out_the_others() -> None:
    """What it may keep is less than what all may."""
    inbox = Inbox(most_bytes_of_a_name=10_000)
    inbox.add(received("quiet", b"q"))
    for letter in (b"a", b"b", b"c", b"d"):
        inbox.add(received("noisy", letter * 4000))

    assert bodies(inbox) == [b"q", b"d"]
    assert sum(each.size for each in inbox.all() if each.name == "noisy") <= 10_000


def test_headers_count_too() -> None:
    """They take memory like anything else."""
    inbox = Inbox(most_bytes=10_000)
    inbox.add(received("x", b"a", headers=6000))
    inbox.add(received("x", b"b", headers=6000))

    assert bodies(inbox) == [b"b"]


def test_what_is_too_large_by_itself_is_not_kept() -> None:
    """It displaces nothing that is kept."""
    inbox = Inbox(most_bytes=10_000)
    inbox.add(received("x", b"a"))
    inbox.add(received("x", b"b" * 20_000))

    assert bodies(inbox) == [b"a"]


def test_a_cleared_inbox_has_all_its_room_again() -> None:
    """Nothing is counted that is gone."""
    inbox = Inbox(most_bytes=10_000, most_bytes_of_a_name=10_000)
    for _ in range(5):
        inbox.add(received("x", b"a" * 3000))
    inbox.clear()
    inbox.add(received("x", b"b" * 3000))
    inbox.add(received("x", b"c" * 3000))

    assert bodies(inbox) == [b"b", b"c"]


def test_what_is_no_json_is_shown_as_none() -> None:
    """However deep it goes; and it is read only when it is shown."""
    assert received("x", b'{"a": 1}').event() == {"a": 1}
    assert received("x", b"\xff").event() is None
    assert received("x", b"[" * 200_000).event() is None
