"""What the clock keeps of stages: their time, the first that failed, and what is not worth waiting for."""

from __future__ import annotations

from typing import Any

import pytest

from flows.stage_clock import StageClock
from tasks.errors import AzureFailure, Fault, Refused
from tasks.kinds import MAY_PASS, Kind


class Stage:
    """All that the clock needs of a task."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = name, error

    def __call__(self) -> str:
        if self.error:
            raise self.error
        return self.name


def ran(clock: StageClock, *stages: Any) -> StageClock:
    for stage in stages:
        try:
            assert clock.run(stage) == stage.name
        except ValueError:
            assert stage.error
    return clock


def test_the_first_stage_that_failed_is_the_one_and_all_have_their_time() -> None:
    clock = ran(StageClock(), Stage("good"), Stage("bad", ValueError()), Stage("teardown", ValueError()))
    assert clock.failed == "bad"
    assert list(clock.seconds) == ["good", "bad", "teardown"]


def test_a_stage_that_ran_twice_counts_both_times() -> None:
    clock = StageClock(seconds={"submit_pipeline": 100.0})
    assert ran(clock, Stage("submit_pipeline")).seconds["submit_pipeline"] > 100


def test_an_error_is_of_the_stage_that_raised_it_else_of_the_first_that_failed() -> None:
    theirs = ValueError()
    clock = StageClock(failed="wait_for_pipeline", errors={"create_endpoint": theirs})
    assert clock.stage_of(theirs) == "create_endpoint"
    assert clock.stage_of(ValueError()) == "wait_for_pipeline"


MAY_BE_OTHERWISE_LATER = (MAY_PASS - {Kind.ROLES}) | {Kind.CAPACITY, Kind.NOT_FOUND, Kind.PERMANENT, Kind.SIGN_IN}


@pytest.mark.parametrize("kind", Kind)
def test_a_training_goes_on_beside_what_may_be_otherwise_by_its_end_and_beside_nothing_else(kind: Kind) -> None:
    stage: Any = Stage("create_endpoint")
    failure = AzureFailure(Fault(kind, "It broke."), "create endpoint")
    clock = StageClock(errors={"create_endpoint": failure})
    assert clock.refused(stage) is (None if kind in MAY_BE_OTHERWISE_LATER else failure)


def test_what_the_flow_itself_refuses_is_not_worth_waiting_for() -> None:
    stage: Any = Stage("create_endpoint")
    refused = Refused("The name is taken.")
    assert StageClock(errors={"create_endpoint": refused}).refused(stage) is refused
    assert StageClock(errors={"create_endpoint": ValueError()}).refused(stage) is None
    assert StageClock().refused(stage) is None
