"""With Redis: it has the signing secrets, and the database only their hashes; and what holds while it is away."""

from __future__ import annotations

import hashlib
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from keys.callers import SPEC, Caller, Minted, admin, code_of, mint
from patience import PATIENCE_SECONDS
from servers.redis import RedisServer
from supplier_files import SIMULATIONS

import nodus
from nodus_ledger.admin.program import main
from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.redis_store import RedisStore, RedisUnavailable, UnusableRedis, evicts

SERVE = (
    "import nodus_ledger.database.redis_store; nodus_ledger.database.redis_store.TIMEOUT_SECONDS = 3600.0\n"
    "from nodus_control.cli import main; main()"
)
"""`nodus-control`, which waits for Redis on a busy machine too."""
NOBODY = "redis://:hunter2@127.0.0.1:1/0"
DAY_MS = 86_400_000

SECRETS = "nodus:signing-secret:*"


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """Redis itself."""
    import redis

    with redis.Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
def key(kept_database_url: str, redis_url: str) -> Minted:
    """A key that must sign, whose secret is in Redis."""
    return mint(kept_database_url, "--signing-required", redis_url=redis_url)


def secrets_in(client: Any) -> set[str]:
    """Every secret that Redis has."""
    return {client.get(name) for name in client.scan_iter(SECRETS)}


def test_the_database_has_the_hash_and_redis_the_secret(
    kept_database_url: str, client: Any, key: Minted, served: Callable[..., Caller], redis_url: str
) -> None:
    """And requests are verified with it."""
    caller = served(redis_url)
    record = caller.control_plane.keys.find(key.api_key)
    assert record is not None
    assert key.signing_secret is not None
    file = Path(kept_database_url.removeprefix("sqlite:///"))
    files = b"".join(path.read_bytes() for path in file.parent.glob("nodus.db*"))

    assert record.signing_secret is None
    assert record.signing_secret_hash == hashlib.sha256(key.signing_secret.encode()).digest()
    assert key.signing_secret.encode() not in files
    assert secrets_in(client) == {key.signing_secret}
    assert caller.call(key, "POST", "/v1/jobs", SPEC).status_code == 202
    assert code_of(caller.call(key, "GET", "/v1/key", secret="sgn_other")) == (401, "signature_invalid")


@pytest.mark.both_engines
def test_an_evicted_secret_cannot_verify_anything(
    client: Any, key: Minted, served: Callable[..., Caller], kept_database_url: str, redis_url: str
) -> None:
    """401 `signing_secret_unavailable`, whatever the signature; rotating the key is the way out."""
    caller = served(redis_url)
    client.flushall()
    right = caller.call(key, "GET", "/v1/key")
    unsigned = caller.http.get("/v1/key", headers={"Authorization": f"Bearer {key.api_key}"})
    with (
        nodus.Client(key.api_key, base_url=caller.base_url, signing_secret=key.signing_secret) as sdk,
        pytest.raises(nodus.SignatureError) as caught,
    ):
        sdk.key()
    admin("rotate", key.key_id, "--db", kept_database_url, "--redis", redis_url)
    [secret] = secrets_in(client)
    rotated = caller.call(key, "GET", "/v1/key", secret=secret)

    assert code_of(right) == code_of(unsigned) == (401, "signing_secret_unavailable")
    assert (caught.value.code, caught.value.attempts) == ("signing_secret_unavailable", 1)
    assert rotated.status_code == 200


@pytest.mark.parametrize("put", ["sgn_forged", "", b"\xff\xfe"])
def test_a_secret_put_into_redis_by_another_verifies_nothing(
    client: Any, key: Minted, served: Callable[..., Caller], redis_url: str, put: Any
) -> None:
    """The database's hash decides which secret is the key's."""
    caller = served(redis_url)
    [name] = client.keys(SECRETS)
    client.set(name, put)

    assert code_of(caller.call(key, "GET", "/v1/key", secret="sgn_forged")) == (401, "signing_secret_unavailable")


@pytest.mark.both_engines
def test_rotating_keeps_the_old_secret_in_redis_for_a_day(
    client: Any, key: Minted, served: Callable[..., Caller], kept_database_url: str, redis_url: str
) -> None:
    """Both verify; of two rotations, the first secret goes at once."""
    caller = served(redis_url)
    [first_name] = client.keys(SECRETS)
    admin("rotate", key.key_id, "--db", kept_database_url, "--redis", redis_url)
    left_ms = client.pttl(first_name)
    [second] = secrets_in(client) - {key.signing_secret}
    both = [caller.call(key, "GET", "/v1/key", secret=secret).status_code for secret in (key.signing_secret, second)]
    client.delete(first_name)
    old_gone = caller.call(key, "GET", "/v1/key"), caller.call(key, "GET", "/v1/key", secret=second)
    admin("rotate", key.key_id, "--db", kept_database_url, "--redis", redis_url)
    after = [code_of(caller.call(key, "GET", "/v1/key", secret=secret)) for secret in (key.signing_secret, second)]

    assert 0 < left_ms <= DAY_MS
    assert both == [200, 200]
    assert [code_of(answer) for answer in old_gone] == [(401, "signing_secret_unavailable"), (200, None)]
    assert after == [(401, "signature_invalid"), (200, None)]
    assert first_name not in client.keys(SECRETS)


def test_revoking_takes_the_secret_out_of_redis(
    client: Any, key: Minted, served: Callable[..., Caller], kept_database_url: str, redis_url: str
) -> None:
    """And the key ends with the next request, in a process that runs."""
    caller = served(redis_url)
    before = caller.call(key, "GET", "/v1/key")
    admin("revoke", key.key_id, "--db", kept_database_url, "--redis", redis_url)

    assert before.status_code == 200
    assert code_of(caller.call(key, "GET", "/v1/key")) == (401, "invalid_api_key")
    assert client.keys(SECRETS) == []


def test_a_secret_sealed_before_there_was_redis_still_verifies(
    kept_database_url: str, redis_url: str, served: Callable[..., Caller]
) -> None:
    """Rotating it moves it."""
    sealed = mint(kept_database_url, "--signing-required")
    caller = served(redis_url)
    before = caller.call(sealed, "GET", "/v1/key")
    admin("rotate", sealed.key_id, "--db", kept_database_url, "--redis", redis_url)
    record = caller.control_plane.keys.find(sealed.api_key)

    assert before.status_code == 200
    assert record is not None
    assert (record.signing_secret, record.signing_secret_hash is None) == (None, False)
    assert caller.call(sealed, "GET", "/v1/key").status_code == 200


def test_without_redis_its_secrets_are_not_at_hand(key: Minted, served: Callable[..., Caller]) -> None:
    """A control plane that was started without `--redis` says so."""
    assert code_of(served().call(key, "GET", "/v1/key")) == (401, "signing_secret_unavailable")


@pytest.mark.both_engines
def test_while_redis_is_away_nobody_passes_unverified(
    redis_server: RedisServer, key: Minted, served: Callable[..., Caller], kept_database_url: str, redis_url: str
) -> None:
    """503 with `Retry-After` for who must sign; who need not is answered; and it is back when Redis is."""
    plain, sealed = mint(kept_database_url), mint(kept_database_url, "--signing-required")
    caller = served(redis_url)
    assert caller.call(key, "GET", "/v1/key").status_code == 200
    redis_server.stop()
    try:
        away = [caller.call(one, "POST", "/v1/jobs", SPEC) for one in (key, sealed)]
        reads = [caller.call(one, "GET", "/v1/key").status_code for one in (key, sealed, plain)]
        others = [caller.call(plain, "POST", "/v1/jobs", SPEC).status_code, caller.http.get("/healthz").status_code]
        listed = caller.call(plain, "GET", "/v1/jobs").json()["jobs"]
        revoked = main(["revoke", key.key_id, "--db", kept_database_url, "--redis", redis_url])
        ended = caller.call(key, "GET", "/v1/key")
        with (
            nodus.Client(
                sealed.api_key, base_url=caller.base_url, signing_secret=sealed.signing_secret, max_retries=0
            ) as sdk,
            pytest.raises(nodus.SupplierUnavailableError) as caught,
        ):
            sdk.run(image="ghcr.io/acme/train:v3")
    finally:
        redis_server.start_again()
    back = caller.call(sealed, "POST", "/v1/jobs", SPEC)

    assert [code_of(answer) for answer in away] == [(503, "signatures_unavailable")] * 2
    assert [answer.headers["retry-after"] for answer in away] == ["2", "2"]
    assert reads == [503, 200, 200]
    assert others == [202, 200]
    assert len(listed) == 1
    assert (revoked, code_of(ended)) == (0, (401, "invalid_api_key"))
    assert (caught.value.code, caught.value.retry_after) == ("signatures_unavailable", 2.0)
    assert back.status_code == 202


def test_minting_and_rotating_need_redis(
    redis_server: RedisServer, kept_database_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 3 and one line; nothing is changed, so that no key is without its secret."""
    key = mint(kept_database_url, "--signing-required", redis_url=redis_url)
    place = ["--db", kept_database_url, "--redis", redis_url]
    redis_server.stop()
    try:
        statuses = [
            main(["mint", "--customer-id", "acme", "--kind", "human", "--signing-required", *place]),
            main(["rotate", key.key_id, *place]),
        ]
    finally:
        redis_server.start_again()
    errors = capsys.readouterr().err.splitlines()

    assert statuses == [3, 3]
    assert len(errors) == 2
    assert all(error.startswith("error: Redis at 127.0.0.1:") for error in errors)
    assert len(admin("list", "--db", kept_database_url).splitlines()) == 2
    admin("verify", "--db", kept_database_url)


def test_a_redis_that_keeps_silent_is_not_waited_for_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes within a second of one who waited in vain is told at once; the next one tries again."""
    monkeypatch.setattr("nodus_ledger.database.redis_store.TIMEOUT_SECONDS", 0.5)
    now = 0.0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", clock=lambda: now)

        def ask_and_count() -> int:
            with pytest.raises(RedisUnavailable, match=r"Redis at 127\.0\.0\.1:\d+ d"):
                store.get("name")
            count = 0
            # Whoever connected before this one is accepted before it.
            with socket.create_connection(silent.getsockname()) as last:
                while True:
                    connection, address = silent.accept()
                    connection.close()
                    if address == last.getsockname():
                        return count
                    count += 1

        connections = []
        for moment in (0.0, 0.5, 0.99, 1.5, 2.0):
            now = moment
            connections.append(ask_and_count())
        store.close()

    assert connections == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("url", [NOBODY, "redis//nonsense", "http://:hunter2@127.0.0.1/"])
def test_serving_needs_a_redis_that_answers(tmp_path: Path, url: str) -> None:
    """Exit status 3; the message shows no password."""
    place = ["--db", f"sqlite:///{tmp_path / 'nodus.db'}", "--redis", url, *SIMULATIONS]
    done = forked.run("control", "serve", "--port", "0", *place)

    assert done.returncode == 3
    assert re.search(r"^Error: Redis ", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_the_missing_client_is_named(monkeypatch: pytest.MonkeyPatch, kept_database_url: str, capsys: Any) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UnusableRedis, match="pip install redis"):
        RedisStore("redis://127.0.0.1/0")
    status = main(
        ["mint", "--customer-id", "acme", "--kind", "human", "--db", kept_database_url, "--redis", "redis://x"]
    )

    assert status == 3
    assert capsys.readouterr().err.startswith("error: Redis needs the package redis")


def test_a_redis_shows_nothing_of_itself() -> None:
    """Its URL may hold a password."""
    assert repr(RedisStore(NOBODY)) == "RedisStore(…)"


@pytest.mark.parametrize(
    ("limit", "policy", "may"),
    [
        (0, "allkeys-lru", False),
        (1_000_000, "noeviction", False),
        (1_000_000, "allkeys-lru", True),
        (1_000_000, "volatile-ttl", True),
    ],
)
def test_what_may_remove_something(limit: int, policy: str, may: bool) -> None:
    """Used signatures expire, so even a policy for what expires removes them too early."""
    assert evicts(limit, policy) is may


@pytest.mark.parametrize("forbidden", [(), ("config",), ("config", "info")])
def test_a_redis_that_may_evict_is_refused(redis_server: RedisServer, forbidden: tuple[str, ...]) -> None:
    """With what to set; where its settings may not be read, by what it says of its memory, if it says that."""
    import redis

    with redis.Redis.from_url(redis_server.url) as owner:
        owner.config_set("maxmemory", "100mb")
        owner.config_set("maxmemory-policy", "volatile-ttl")
        rules = ["+@all", "~*", "&*", ">secret", "on", *(f"-{command}" for command in forbidden)]
        owner.execute_command("ACL", "SETUSER", "nodus", "reset", *rules)
        store = RedisStore(redis_server.url.replace("redis://", "redis://nodus:secret@"))
        try:
            if len(forbidden) == 2:
                store.require()
            else:
                with pytest.raises(UnusableRedis, match="set maxmemory-policy to noeviction"):
                    store.require()
            owner.config_set("maxmemory-policy", "noeviction")
            store.require()
        finally:
            store.close()
            owner.config_set("maxmemory", "0")
            owner.execute_command("ACL", "DELUSER", "nodus")


def test_serve_does_not_start_with_a_redis_that_may_evict(kept_database_url: str, redis_server: RedisServer) -> None:
    """Exit status 3, in a line."""
    import redis

    options = [*SIMULATIONS, "--port", "0", "--db", kept_database_url, "--redis", redis_server.url]
    with redis.Redis.from_url(redis_server.url) as owner:
        owner.config_set("maxmemory", "100mb")
        owner.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ended = forked.run("control", "serve", *options)
        finally:
            owner.config_set("maxmemory", "0")
            owner.config_set("maxmemory-policy", "noeviction")

    assert ended.returncode == 3
    assert "set maxmemory-policy to noeviction" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_urls_may_be_in_files(kept_database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Then no password stands in the arguments of a process; a file that is not there is said."""
    (tmp_path / "db").write_text(kept_database_url + "\n")
    (tmp_path / "redis").write_text(redis_url + "\n")
    database, store = Database(f"file:{tmp_path / 'db'}"), RedisStore(f"file:{tmp_path / 'redis'}")
    store.require()
    database.close()
    store.close()

    with pytest.raises(UnusableDatabase, match=r"cannot read the database's URL: .*/none: No such file"):
        Database(f"file:{tmp_path / 'none'}")
    (tmp_path / "empty").touch()
    with pytest.raises(UnusableRedis, match="it must hold the URL, and nothing else"):
        RedisStore(f"file:{tmp_path / 'empty'}")
