"""What the reaper may take."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tasks.orphans import Leftover, RunState, why_release

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def endpoint(hours: float, **tags: str) -> Leftover:
    return Leftover("endpoint", "ft-x", uuid4(), NOW - timedelta(hours=hours), tags)


def verdict(left: Leftover, run: RunState) -> str | None:
    return why_release(left, run, now=NOW, ttl_hours=24, grace_minutes=15)


def test_what_a_living_run_uses_stays() -> None:
    assert verdict(endpoint(1000), RunState.ALIVE) is None


def test_what_a_failed_run_left_goes_after_a_grace() -> None:
    assert verdict(endpoint(1), RunState.ENDED_BADLY)
    assert verdict(endpoint(0.1), RunState.ENDED_BADLY) is None


def test_what_a_failed_run_left_goes_even_if_success_would_have_kept_it() -> None:
    assert verdict(endpoint(1, keep="on_success"), RunState.ENDED_BADLY)


def test_what_a_successful_run_was_to_keep_stays_until_it_expires() -> None:
    assert verdict(endpoint(1000, keep="on_success"), RunState.SUCCEEDED) is None
    alive = (NOW + timedelta(hours=1)).isoformat()
    expired = (NOW - timedelta(hours=1)).isoformat()
    assert verdict(endpoint(5, keep="on_success", expires_at=alive), RunState.SUCCEEDED) is None
    assert verdict(endpoint(5, keep="on_success", expires_at=expired), RunState.SUCCEEDED)


def test_what_a_successful_run_should_have_deleted_goes() -> None:
    assert verdict(endpoint(1), RunState.SUCCEEDED)


def test_what_belongs_to_an_unknown_run_goes_only_when_it_is_old() -> None:
    assert verdict(endpoint(23), RunState.UNKNOWN) is None
    assert verdict(endpoint(25), RunState.UNKNOWN)


def test_of_a_run_that_nobody_knows_what_success_would_have_kept_stays() -> None:
    assert verdict(endpoint(1000, keep="on_success"), RunState.UNKNOWN) is None


def test_only_an_endpoint_is_kept() -> None:
    job = Leftover("job", "ft-x", uuid4(), NOW - timedelta(hours=1), {"keep": "on_success"})
    assert verdict(job, RunState.SUCCEEDED)


def test_times_are_over_at_the_moment_itself() -> None:
    assert verdict(endpoint(0.25), RunState.ENDED_BADLY)
    assert verdict(endpoint(24), RunState.UNKNOWN)
    assert verdict(endpoint(5, keep="on_success", expires_at=NOW.isoformat()), RunState.SUCCEEDED)


def test_a_time_without_a_zone_is_utc() -> None:
    over = (NOW - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert verdict(endpoint(5, keep="on_success", expires_at=over), RunState.SUCCEEDED)


def test_what_says_not_when_it_was_made_is_young() -> None:
    assert verdict(Leftover("endpoint", "ft-x", uuid4(), None, {}), RunState.ENDED_BADLY) is None
