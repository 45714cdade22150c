"""The day is that of the answer; the machine's own counts only where the answer tells none."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from requests.structures import CaseInsensitiveDict

from tasks.azure_ml.clock import day_of


@pytest.mark.parametrize("written", ["Sat, 01 Mar 2025 23:59:59 GMT", "Sun, 02 Mar 2025 00:59:59 +0100"])
def test_the_day_is_that_of_the_answer_in_utc(written: str) -> None:
    assert day_of(CaseInsensitiveDict(date=written)) == date(2025, 3, 1)


@pytest.mark.parametrize("headers", [{}, {"Date": ""}, {"Date": "soon"}, {"Date": "Sat, 99 Mar 2025 00:00:00 GMT"}])
def test_without_one_it_is_the_machines(headers: dict[str, str]) -> None:
    assert day_of(headers) == datetime.now(UTC).date()
