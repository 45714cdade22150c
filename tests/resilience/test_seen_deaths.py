"""What was seen of deaths counts on the source that it was seen on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.deaths import report, seen
from tests.deaths.cells import WHOLE
from tests.deaths.verdict import Outcome


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(seen.KEEPING, str(tmp_path / "deaths.jsonl"))
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    return tmp_path / "deaths.jsonl"


def test_a_cell_counts_until_what_it_was_seen_on_has_changed(file: Path) -> None:
    one, other = WHOLE[0], WHOLE[-1]
    for cell in (one, other):
        seen.keep(Outcome(cell, wrong="", ended="Completed", seconds=3.0))
    first, second = file.read_text().splitlines()
    file.write_text(json.dumps({**json.loads(first), "digest": "0" * 12}) + "\n" + second + "\n")
    assert [outcome.cell for outcome in seen.kept()] == [other]
    report.write(list(seen.every()))
    page = report.PAGE.read_text()
    assert f"**1 of {len(WHOLE)} cells are as they must be**" in page
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{one.stage}` |")]
    assert row.count("void") == 1 and row.count("not run") == len(row.split("|")) - 4


def test_a_cell_that_was_run_again_shows_the_last_and_tells_of_the_first(file: Path) -> None:
    seen.keep(Outcome(WHOLE[0], wrong="2 jobs", ended="Failed", message="Two of them."))
    seen.keep(Outcome(WHOLE[0], wrong="", ended="Completed", seconds=4.0))
    report.write(list(seen.every()))
    page = report.PAGE.read_text()
    assert "Completed, 4 s" in page and "## Run again, after this" in page and "2 jobs" in page
    assert "## Not as it must be" not in page
