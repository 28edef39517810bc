"""Token buckets, and how refusals are paced: decided without waiting."""

from __future__ import annotations

import pytest

from nodus_control.access.rate_limiter import (
    LocalBuckets,
    Pace,
    RateLimiter,
    RateLimitOptions,
    SharedBuckets,
    rate_limited,
)
from nodus_control.errors import ApiError
from nodus_core.rate_limits import RateLimit, parse_rate_limit, rate_limit_text
from nodus_ledger.database.redis_store import RedisStore, RedisUnavailable


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


FIFTY = RateLimit(50, 200)


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    """200 at once, then one for each fiftieth of a second."""
    clock = Clock()
    buckets = LocalBuckets(clock)
    at_once = [buckets.take("a", FIFTY) for _ in range(200)]
    wait = buckets.take("a", FIFTY)
    clock.now += 0.1
    later = [buckets.take("a", FIFTY) for _ in range(6)]

    assert at_once == [0.0] * 200
    assert wait == pytest.approx(0.02)
    assert later[:5] == [0.0] * 5
    assert later[5] > 0


def test_a_refusal_takes_nothing_and_several_are_taken_together_or_not_at_all() -> None:
    """Whoever keeps asking does not wait longer for it."""
    buckets = LocalBuckets(Clock())
    limit = RateLimit(1, 10)

    assert buckets.take("a", limit, 8) == 0
    assert [buckets.take("a", limit, 3) for _ in range(5)] == [pytest.approx(1)] * 5
    assert buckets.take("a", limit, 2) == 0


def test_buckets_are_each_their_own_and_forgotten_when_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many names do not fill the memory, and no bucket that is in use is given anew."""
    monkeypatch.setattr("nodus_control.access.rate_limiter._MOST_BUCKETS", 8)
    clock = Clock()
    buckets = LocalBuckets(clock)
    for _ in range(10):
        buckets.take("busy", RateLimit(1, 10))
    for number in range(100):
        buckets.take(str(number), FIFTY)

    assert len(buckets._full_at) <= 9
    assert buckets.take("busy", RateLimit(1, 10)) > 0


@pytest.mark.parametrize(
    ("text", "limit"),
    [("50/s", RateLimit(50, 200)), ("5/s:7", RateLimit(5, 7)), ("1/s:1", RateLimit(1, 1)), ("off", None)],
)
def test_limits_are_read_and_written(text: str, limit: RateLimit | None) -> None:
    """A burst that is not given is four seconds' worth."""
    assert parse_rate_limit(text) == limit
    assert parse_rate_limit(rate_limit_text(limit)) == limit


@pytest.mark.parametrize("text", ["", "50", "0/s", "5/s:0", "-1/s", "5/m", "5/s:", "1e3/s", "٥/s", "5/s\n", "off "])
def test_what_is_no_limit_is_refused(text: str) -> None:
    """With the forms that there are."""
    with pytest.raises(ValueError, match="give N/s"):
        parse_rate_limit(text)


def test_several_processes_have_a_part_each() -> None:
    """And each may send something."""
    assert RateLimit(50, 200).divided(4) == RateLimit(12.5, 50)
    assert RateLimit(1, 1).divided(4) == RateLimit(0.25, 1)


def test_a_refusal_says_when_and_why() -> None:
    """In whole seconds, one at least, in the fields of the draft."""
    error = rate_limited("key", FIFTY, 0.02)
    slow = rate_limited("address", RateLimit(20, 100), 3.2)

    assert (error.status, error.code) == (429, "rate_limited")
    assert error.headers == {
        "Retry-After": "1",
        "RateLimit": '"key";r=0;t=1',
        "RateLimit-Policy": '"key";q=50;w=1',
    }
    assert slow.headers["Retry-After"] == "4"
    assert slow.headers["RateLimit-Policy"] == '"address";q=20;w=1'


def test_refusals_of_a_flood_are_held_back_and_no_others() -> None:
    """Up to a second; each bucket has its own pace."""
    clock = Clock()
    pace = Pace(clock)
    holds = [pace.hold("a") for _ in range(500)]

    assert holds[:50] == [pytest.approx(0, abs=1e-6)] * 50
    assert holds == sorted(holds)
    assert holds[-1] == 1.0
    assert pace.hold("b") == 0
    clock.now += 10
    assert pace.hold("a") == 0


def test_failures_count_for_the_address_and_past_it_are_refused() -> None:
    """20 a second, 100 at once; `off` and a key's limit change nothing about that."""
    limits = RateLimiter(RateLimitOptions(rate=None), clock=Clock())
    for _ in range(100):
        limits.count_failure("192.0.2.1")
    limits.count_failure("192.0.2.2")

    with pytest.raises(ApiError) as refused:
        limits.count_failure("192.0.2.1")
    assert refused.value.headers["RateLimit-Policy"] == '"address";q=20;w=1'


class Shared(RedisStore):
    """A Redis that answers or does not."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    def take_tokens(self, name: str, per_second: float, burst: float, tokens: int) -> float:
        """Refuse everything, or fail."""
        self.asked += 1
        if not self.is_up:
            raise RedisUnavailable("away")
        return 1.0


def test_while_redis_does_not_answer_a_process_counts_alone() -> None:
    """And asks again only once in a while, so that a Redis that hangs costs few requests their time."""
    clock = Clock()
    redis = Shared()
    buckets = SharedBuckets(redis, LocalBuckets(clock), clock)
    up = buckets.take("a", FIFTY)
    redis.is_up = False
    down = [buckets.take("a", FIFTY) for _ in range(201)]
    asked = redis.asked
    redis.is_up = True
    clock.now += 6
    back = [buckets.take("a", FIFTY) for _ in range(2)]

    assert up == 1.0
    assert down[:200] == [0.0] * 200
    assert down[200] > 0
    assert asked == 2
    assert back == [1.0, 1.0]


def test_redis_counts_for_all_processes(redis_url: str) -> None:
    """With its own clock, and forgets what is full."""
    first, second = RedisStore(redis_url), RedisStore(redis_url)
    # One more in a quarter of an hour: none comes back while these are taken.
    limit = RateLimit(0.001, 6)
    alone = LocalBuckets()
    taken = [SharedBuckets(store, alone).take("key x", limit) for store in (first, second) * 3]
    refused = SharedBuckets(second, alone).take("key x", limit)
    left_ms = first._client.pttl("nodus:rate:key x")
    first.close()
    second.close()

    assert taken == [0.0] * 6
    assert 0 < refused <= 1000
    assert 0 < left_ms <= 6_000_000
