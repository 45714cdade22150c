"""How often a job is looked at."""

from types import SimpleNamespace

import pytest

import tasks.azure_ml.polling
from tasks.azure_ml.polling import IDLE_SECONDS, PollInterval, polls


def requests_in(pace: PollInterval, seconds: float, cost: int = 1) -> int:
    elapsed, requests = 0.0, 0
    while elapsed < seconds:
        requests += cost
        elapsed += pace.pause(cost)
    return requests


def test_looks_come_quickly_at_first() -> None:
    assert requests_in(PollInterval(), 5) >= 4


def test_nothing_happening_costs_at_most_six_requests_a_minute() -> None:
    pace = PollInterval()
    requests_in(pace, 120)
    assert requests_in(pace, 600) <= 60
    assert requests_in(pace, 600, cost=3) <= 61


def test_a_change_makes_looks_quick_again() -> None:
    pace = PollInterval(IDLE_SECONDS)
    assert pace.idle
    pace.changed()
    assert not pace.idle
    assert pace.pause() < 2


@pytest.mark.parametrize("seconds", [0, 1, 60, 1800])
def test_what_takes_its_time_is_looked_at_at_once_and_once_more_after_its_deadline(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    monkeypatch.setattr(tasks.azure_ml.polling, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    seen = [now for _ in polls(seconds)]
    assert seen[0] == 0
    assert seen[-2] <= seconds < seen[-1] <= seconds + IDLE_SECONDS
