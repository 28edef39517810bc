"""What remembers used signatures: in memory, in the database, in Redis, by one contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from keys.callers import WEBHOOK, Caller, code_of, mint

from nodus_ledger.database.database import Database
from nodus_ledger.database.redis_store import RedisStore
from nodus_ledger.database.schema import signature_uses
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.keys.replay_protection import (
    REMEMBERED_MS,
    FirstUse,
    ReplayProtection,
    ReplayProtectionInDatabase,
    ReplayProtectionInMemory,
    ReplayProtectionInRedis,
)

NOW = 1_800_000_000.0
SIGNATURE = f"v1={'5' * 64},ts=1800000000"
KINDS = ["memory", "database", "redis"]
Pair = tuple[ReplayProtection, ReplayProtection]


@pytest.fixture
def make(request: pytest.FixtureRequest, kept_database_url: str) -> Iterator[Callable[[str], Pair]]:
    """Makes what two API processes would have; in memory, of which there is one process, the same twice."""
    with ExitStack() as closing:

        def make(kind: str) -> Pair:
            if kind == "memory":
                alone = ReplayProtectionInMemory()
                return alone, alone
            if kind == "database":
                databases = [Database(kept_database_url) for _ in range(2)]
                for database in databases:
                    closing.callback(database.close)
                return ReplayProtectionInDatabase(databases[0]), ReplayProtectionInDatabase(databases[1])
            stores = [RedisStore(request.getfixturevalue("redis_url")) for _ in range(2)]
            for store in stores:
                closing.callback(store.close)
            return ReplayProtectionInRedis(stores[0]), ReplayProtectionInRedis(stores[1])

        yield make


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("came_with", [None, "", "-", "=", "a key"])
def test_a_second_use_finds_the_first(make: Callable[[str], Pair], kind: str, came_with: str | None) -> None:
    """Whichever process has it, and what came with it is told as it was."""
    one, other = make(kind)
    first = one.admit("key", SIGNATURE, came_with, NOW)
    second = other.admit("key", SIGNATURE, "later", NOW + 1)
    third = one.admit("key", SIGNATURE, None, NOW + 2)

    assert first is None
    assert second == third == FirstUse(came_with)


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_or_signature_is_another_use(make: Callable[[str], Pair], kind: str) -> None:
    """Nobody uses up another's signature."""
    one, other = make(kind)

    assert one.admit("key", SIGNATURE, None, NOW) is None
    assert other.admit("another", SIGNATURE, None, NOW) is None
    assert other.admit("key", SIGNATURE.replace("5", "6"), None, NOW) is None


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", KINDS)
def test_of_many_at_once_one_is_the_first(make: Callable[[str], Pair], kind: str) -> None:
    """However close they come."""
    both = make(kind)
    together = threading.Barrier(8)

    def use(number: int) -> bool:
        together.wait()
        while True:
            # On a busy machine some wait for a lock for longer than the database lets them: they come again.
            with suppress(DatabaseUnavailable):
                return both[number % 2].admit("key", SIGNATURE, str(number), NOW) is None

    with ThreadPoolExecutor(8) as threads:
        firsts = list(threads.map(use, range(8)))

    assert firsts.count(True) == 1


def test_memory_holds_what_can_still_be_replayed() -> None:
    """Twice the tolerance, and no longer."""
    protection = ReplayProtectionInMemory()
    protection.admit("key", SIGNATURE, None, NOW)
    last = protection.admit("key", SIGNATURE, None, NOW + REMEMBERED_MS / 1000 - 1)
    over = protection.admit("key", SIGNATURE, None, NOW + REMEMBERED_MS / 1000 + 1)

    assert (last, over) == (FirstUse(None), None)


@pytest.mark.both_engines
def test_the_database_holds_what_can_still_be_replayed(kept_database_url: str) -> None:
    """What is over goes with a later use; and no signature is there to be read."""
    database = Database(kept_database_url)
    protection = ReplayProtectionInDatabase(database)
    protection.admit("key", SIGNATURE, "k", NOW)
    protection.admit("key", "v1=…,ts=…", None, NOW + REMEMBERED_MS / 1000 - 1)
    with database.read() as connection:
        before = connection.execute(signature_uses.select()).all()
    protection.admit("key", "v1=……,ts=…", None, NOW + REMEMBERED_MS / 1000 + 61)
    with database.read() as connection:
        after = connection.execute(signature_uses.select()).all()
    database.close()

    assert len(before) == 2
    assert len(after) == 2
    assert [row.idempotency_key for row in after] == [None, None]
    assert b"5" * 64 not in before[0].signature_hash
    assert len(before[0].signature_hash) == 32


def test_redis_holds_what_can_still_be_replayed(redis_url: str) -> None:
    """It forgets by itself."""
    import redis

    store = RedisStore(redis_url)
    ReplayProtectionInRedis(store).admit("key", SIGNATURE, "k", NOW)
    store.close()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        names = [str(name) for name in client.scan_iter()]
        left = client.pttl(names[0])

    assert len(names) == 1
    assert "5" * 64 not in names[0]
    assert 0 < left <= REMEMBERED_MS


@pytest.mark.both_engines
@pytest.mark.parametrize("with_redis", [False, True], ids=["database", "redis"])
def test_a_signature_is_used_once_however_many_processes_answer(
    request: pytest.FixtureRequest, kept_database_url: str, served: Callable[..., Caller], with_redis: bool
) -> None:
    """With Redis, and without."""
    redis_url = request.getfixturevalue("redis_url") if with_redis else None
    key = mint(kept_database_url, "--signing-required", redis_url=redis_url)
    callers = [served(redis_url) for _ in range(3)]
    now = callers[0].control_plane.clock.now() / 1000
    answers = [caller.call(key, "POST", "/v1/webhooks", WEBHOOK, now=now) for caller in callers]

    assert [code_of(answer) for answer in answers] == [(201, None), *[(409, "signature_replayed")] * 2]
    assert {answer.headers.get("retry-after") for answer in answers} == {None, "1"}


@pytest.mark.both_engines
def test_a_restart_forgets_no_signature(kept_database_url: str, served: Callable[..., Caller]) -> None:
    """A thief gains nothing by waiting for one."""
    key = mint(kept_database_url, "--signing-required")
    before = served()
    now = before.control_plane.clock.now() / 1000
    first = before.call(key, "POST", "/v1/webhooks", WEBHOOK, now=now)
    before.control_plane.close()
    second = served().call(key, "POST", "/v1/webhooks", WEBHOOK, now=now)

    assert [first.status_code, second.status_code] == [201, 409]
