"""The gate."""

import pytest

from tasks.metrics import Champion, MetricGate, why_closed

CHAMPION = Champion(version="3", eval_loss=1.0)


def test_without_bounds_the_gate_is_open() -> None:
    assert why_closed(MetricGate(), None, 5.0, CHAMPION) == []
    assert why_closed(MetricGate(), None, None, None) == []


@pytest.mark.parametrize(("loss", "closed"), [(1.5, False), (1.6, True)])
def test_the_absolute_bound(loss: float, closed: bool) -> None:
    assert bool(why_closed(MetricGate(max_eval_loss=1.5), None, loss, None)) is closed


@pytest.mark.parametrize(("loss", "closed"), [(1.1, False), (1.2, True)])
def test_a_model_may_be_worse_than_the_champion_only_by_so_much(loss: float, closed: bool) -> None:
    reasons = why_closed(MetricGate(max_worse_than_champion=0.1), None, loss, CHAMPION)
    assert bool(reasons) is closed
    assert all("version 3" in reason for reason in reasons)


def test_the_first_model_has_no_champion_to_beat() -> None:
    assert why_closed(MetricGate(max_worse_than_champion=0.0), None, 9.0, None) == []


def test_a_model_that_training_made_worse_is_rejected_on_request() -> None:
    assert why_closed(MetricGate(must_improve=True), 2.0, 2.0, None)
    assert not why_closed(MetricGate(must_improve=True), 2.0, 1.9, None)


def test_a_diverged_model_is_always_rejected() -> None:
    assert why_closed(MetricGate(), 2.0, float("nan"), None)


def test_a_gate_with_a_bound_needs_a_measurement() -> None:
    assert why_closed(MetricGate(max_eval_loss=1.0), None, None, None)
