"""How often a job is looked at."""

from tasks.pace import STEADY_SECONDS, Pace


def requests_in(pace: Pace, seconds: float, cost: int = 1) -> int:
    elapsed, requests = 0.0, 0
    while elapsed < seconds:
        requests += cost
        elapsed += pace.pause(cost)
    return requests


def test_looks_come_quickly_at_first() -> None:
    assert requests_in(Pace(), 5) >= 4


def test_nothing_happening_costs_at_most_six_requests_a_minute() -> None:
    pace = Pace()
    requests_in(pace, 120)
    assert requests_in(pace, 600) <= 60
    assert requests_in(pace, 600, cost=3) <= 61


def test_a_change_makes_looks_quick_again() -> None:
    pace = Pace(STEADY_SECONDS)
    assert pace.steady
    pace.changed()
    assert not pace.steady
    assert pace.pause() < 2
