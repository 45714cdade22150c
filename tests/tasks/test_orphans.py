"""What the reaper may take."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Pending, Running, Suspended

from tasks.cost import Prices
from tasks.orphans import Leftover, why_release
from tasks.release import EXPIRES_TAG, moment
from tasks.runs import RunState, state_of
from tasks.teardown import TeardownParameters

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIVING: list[State[Any]] = [Pending(), Running(), Suspended(), AwaitingRetry(), Cancelling()]
ENDED_BADLY: list[State[Any]] = [Failed(), Crashed(), Cancelled()]
PRICES = Prices(currency="EUR", source="a test", dedicated={"Standard_X": 2.5})


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


def test_a_time_to_live_is_counted_in_hours() -> None:
    expires = moment(TeardownParameters(policy="ttl", ttl_hours=2).tags()[EXPIRES_TAG])
    assert expires is not None
    assert timedelta(hours=1.9) < expires - datetime.now(UTC) <= timedelta(hours=2)


def test_a_time_without_a_zone_is_utc() -> None:
    over = (NOW - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    assert verdict(endpoint(5, keep="on_success", expires_at=over), RunState.SUCCEEDED)


def test_what_says_not_when_it_was_made_is_young() -> None:
    assert verdict(Leftover("endpoint", "ft-x", uuid4(), None, {}), RunState.ENDED_BADLY) is None


def test_a_server_decides_of_what_it_made_and_of_what_names_none_if_it_knows_the_run() -> None:
    mine, theirs, older = endpoint(1, prefect_server="mine"), endpoint(1, prefect_server="theirs"), endpoint(1)
    assert [left.is_known_to("mine", RunState.UNKNOWN) for left in (mine, theirs, older)] == [True, False, False]
    assert [left.is_known_to("mine", RunState.ALIVE) for left in (mine, theirs, older)] == [True, False, True]


def test_what_is_anothers_is_told_with_its_age_and_with_what_releases_it() -> None:
    told = endpoint(3, prefect_server="theirs", machines="2 Standard_X dedicated").told(NOW, PRICES)
    assert "Endpoint ft-x was made 3.0 hours ago by flow run " in told
    assert "of Prefect server theirs, not of this one." in told and told.endswith("run the reaper with server theirs.")
    assert "It stays, and costs about 5.00 EUR an hour while it works." in told
    older = endpoint(3).told(NOW, PRICES)
    assert "costs an unknown price an hour" in older and older.endswith("run the reaper with server not-named.")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        *((state, RunState.ALIVE) for state in LIVING),
        *((state, RunState.ENDED_BADLY) for state in ENDED_BADLY),
        (Completed(), RunState.SUCCEEDED),
    ],
    ids=lambda its: str(getattr(its, "name", its)),
)
def test_a_run_lives_until_its_state_is_final(state: State[Any], found: RunState) -> None:
    assert state_of(FlowRun(id=uuid4(), flow_id=uuid4(), name="nimble-otter", state=state)) is found
    assert state_of(None) is RunState.UNKNOWN
