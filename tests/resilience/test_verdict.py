"""Every run must have ended as it had to: the one that was met, and those that put it right."""

from __future__ import annotations

from tests.deaths.cells import Cell, Death, Stage
from tests.resilience.verdict import Expected, not_well


def test_a_death_ends_a_run_in_one_way_and_what_it_made_by_then_is_known() -> None:
    def expected(stage: str, death: Death) -> Expected:
        return Cell(Stage(stage), death).expected

    assert expected("validate_compute", Death.KILLED) == Expected("Crashed", {0}, {0})
    assert expected("submit_pipeline", Death.TERMINATED) == Expected("Crashed", {0, 1}, {0})
    assert expected("register_model", Death.WORKER_KILLED) == Expected("Crashed", {1}, {0, 1})
    assert expected("smoke_score", Death.CANCELLED) == Expected("Cancelled", {1}, {1})
    for death in (Death.RESCHEDULED, Death.WORKER_SHUT_DOWN, Death.SERVER_RESTARTED, Death.SUSPENDED):
        assert expected("validate_compute", death) == Expected("Completed", {1}, {1})


def test_an_end_that_differs_is_told_in_words() -> None:
    crashed = Expected("Crashed", {0, 1}, {0})
    assert crashed.unlike("Crashed", 1, 0) == []
    assert crashed.unlike("Completed", 2, 1) == ["ended Completed", "submitted 2 jobs", "registered 1 versions"]


def test_a_reaper_that_is_not_completed_is_told() -> None:
    reapers = [{"name": "one", "state_name": "Completed"}, {"name": "two", "state_name": "Running"}]
    assert not_well(reapers) == ["flow run two is Running"]
