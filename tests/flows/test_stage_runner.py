"""What the runner keeps of stages: their time, the first that failed, and what is not worth waiting for."""

from __future__ import annotations

from collections.abc import Callable
from threading import Timer
from typing import Any

import pytest

from flows.stage_runner import StageRunner
from tasks.azure_ml.errors import AzureFailure, ErrorInfo, InvalidConfiguration
from tasks.azure_ml.kinds import MAY_PASS, Kind
from tasks.progress import watched_by


class Stage:
    """All that the runner needs of a task."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.error = name, error

    def __call__(self) -> str:
        if self.error:
            raise self.error
        return self.name


class LateFuture:
    """A future as Prefect's are: whoever waits for it goes on before its callbacks have run."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def add_done_callback(self, noted: Callable[[LateFuture], None]) -> None:
        Timer(0.2, noted, [self]).start()

    def wait(self) -> None:
        """Its stage is over."""

    def result(self) -> str:
        if self.error:
            raise self.error
        return "result"


class StageBeside(Stage):
    def submit(self) -> LateFuture:
        future, self.error = LateFuture(self.error), None
        return future


def ran(runner: StageRunner, *stages: Any) -> StageRunner:
    for stage in stages:
        try:
            assert runner.run(stage) == stage.name
        except ValueError:
            assert stage.error
    return runner


def test_the_first_stage_that_failed_is_the_one_and_all_have_their_time() -> None:
    runner = ran(StageRunner(), Stage("good"), Stage("bad", ValueError()), Stage("teardown", ValueError()))
    assert runner.failed == "bad"
    assert list(runner.seconds) == ["good", "bad", "teardown"]


def test_a_stage_that_ran_twice_counts_both_times() -> None:
    runner = StageRunner(seconds={"submit_pipeline": 100.0})
    assert ran(runner, Stage("submit_pipeline")).seconds["submit_pipeline"] > 100


def test_a_stage_that_failed_beside_the_others_is_run_once_more_however_late_its_error_is_noted() -> None:
    runner, stage = StageRunner(), StageBeside("create_endpoint", ValueError())
    runner.submit(stage)  # type: ignore[arg-type]
    assert runner.result(stage) == "create_endpoint"  # type: ignore[arg-type]


def test_what_failed_beside_the_others_is_known_with_its_time_once_all_has_settled() -> None:
    runner, error = StageRunner(), ValueError()
    runner.submit(StageBeside("sample_dataset", error))  # type: ignore[arg-type]
    runner.wait_all()
    assert (runner.failed, runner.stage_of(error), list(runner.seconds)) == (
        "sample_dataset",
        "sample_dataset",
        ["sample_dataset"],
    )


def test_an_error_is_of_the_stage_that_raised_it_else_of_the_first_that_failed() -> None:
    theirs = ValueError()
    runner = StageRunner(failed="wait_for_pipeline", errors={"create_endpoint": theirs})
    assert runner.stage_of(theirs) == "create_endpoint"
    assert runner.stage_of(ValueError()) == "wait_for_pipeline"


MAY_BE_OTHERWISE_LATER = (MAY_PASS - {Kind.ROLES}) | {Kind.CAPACITY, Kind.NOT_FOUND, Kind.PERMANENT, Kind.SIGN_IN}


@pytest.mark.parametrize("kind", Kind)
def test_a_training_goes_on_beside_what_may_be_otherwise_by_its_end_and_beside_nothing_else(kind: Kind) -> None:
    stage: Any = Stage("create_endpoint")
    failure = AzureFailure(ErrorInfo(kind, "It broke."), "create endpoint")
    runner = StageRunner(errors={"create_endpoint": failure})
    assert runner.refused(stage) is (None if kind in MAY_BE_OTHERWISE_LATER else failure)


def test_what_the_flow_itself_refuses_is_not_worth_waiting_for() -> None:
    stage: Any = Stage("create_endpoint")
    refused = InvalidConfiguration("The name is taken.")
    assert StageRunner(errors={"create_endpoint": refused}).refused(stage) is refused
    assert StageRunner(errors={"create_endpoint": ValueError()}).refused(stage) is None
    assert StageRunner().refused(stage) is None


def test_a_bad_end_is_shown_as_what_it_was() -> None:
    moved: list[tuple[str, float, str]] = []
    runner = StageRunner(stages=4, seconds={"resolve_credentials": 1.0, "sample_dataset": 2.0})
    with watched_by(lambda *move: moved.append(move)):
        assert runner.stop("Failed", "sample_dataset") == "Failed in sample_dataset, 1 of 4 stages done"
        runner.stop("Cancelled", None)
    assert moved == [
        ("stages", 25.0, "Failed in sample_dataset, 1 of 4 stages done"),
        ("stages", 50.0, "Cancelled in no stage, 2 of 4 stages done"),
    ]
