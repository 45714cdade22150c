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
