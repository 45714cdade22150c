"""What was seen counts on the source that it was seen on; the pages tell what counts, since when and how."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import matrix, report
from tests.chaos.calls import Call
from tests.chaos.matrix import Cell
from tests.deaths import cells as deaths
from tests.deaths.cells import WHOLE
from tests.deaths.report import page
from tests.resilience.digest import _read, digest
from tests.resilience.seen import Book, Outcome
from tests.resilience.session import Session, parser

SETTINGS = {"shards": 2, "heartbeat_seconds": 30}
ONE, OTHER = WHOLE[0], WHOLE[-1]


@pytest.fixture
def book(tmp_path: Path) -> Book[deaths.Cell]:
    return replace(deaths.BOOK, file=tmp_path / "new" / "deaths.jsonl")


@pytest.fixture
def faults(tmp_path: Path) -> Book[Cell]:
    return replace(matrix.BOOK, file=tmp_path / "faults.jsonl")


def rewritten(book: Book[Any], number: int, **changes: Any) -> None:
    """Changes a line of the file."""
    lines = book.file.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changes})
    book.file.write_text("\n".join(lines) + "\n")


def fault(*stages: str, path: str = "/a", effect: str = "500") -> Cell:
    return Cell(Call("PUT", path), effect, trains=False, stages=stages or ("teardown",))


def test_a_cell_counts_until_what_it_was_seen_on_has_changed(book: Book[deaths.Cell]) -> None:
    for cell in (ONE, OTHER):
        book.keep(Outcome(cell, wrong="", ended="Completed", seconds=3.0), SETTINGS)
    rewritten(book, 0, digest="0" * 12)
    standing = book.standing(WHOLE)
    assert standing.green == {OTHER} and standing.void == {ONE}
    assert replace(book, judges=()).standing(WHOLE).void == {ONE, OTHER}
    text = page(standing)
    assert f"**1 of {len(WHOLE)} cells are as they must be.** The others: 1 void, since" in text
    assert f"; {len(WHOLE) - 2} not run." in text
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{ONE.stage}` |")]
    assert row.count("void") == 1 and row.count("not run") == len(row.split("|")) - 4
    book.keep(Outcome(ONE, wrong="", ended="Completed"), SETTINGS)
    assert not book.standing(WHOLE).void


def test_a_line_has_the_cell_its_digest_the_day_and_the_settings(book: Book[deaths.Cell]) -> None:
    told = Outcome(ONE, "two jobs", "Failed", "No.", 3.0, "hook")
    book.keep(told, SETTINGS)
    [line] = map(json.loads, book.file.read_text().splitlines())
    assert line["cell"] == {"stage": ONE.stage, "death": ONE.death}
    assert line["settings"] == SETTINGS and len(line["digest"]) == 12 and date.fromisoformat(line["day"])
    [kept] = book.standing(WHOLE).outcomes.values()
    assert replace(kept, digest="", day="", settings={}) == told


def test_a_cell_that_was_run_again_shows_the_last_and_tells_of_the_first(book: Book[deaths.Cell]) -> None:
    book.keep(Outcome(ONE, wrong="9 jobs", ended="Failed"), SETTINGS)
    rewritten(book, 0, digest="0" * 12)  # what was wrong on another source is not told of this one
    book.keep(Outcome(ONE, wrong="2 jobs", ended="Failed", message="Two of them."), SETTINGS)
    assert "## Not as it must be" in page(book.standing(WHOLE)) and "**red** Failed" in page(book.standing(WHOLE))
    book.keep(Outcome(ONE, wrong="", ended="Completed", seconds=4.0, how="resume"), SETTINGS)
    text = page(book.standing(WHOLE))
    assert "| Completed, 4 s, resume |" in text and "## Not as it must be" not in text and "9 jobs" not in text
    assert f"## Run again, after this\n\n* `{ONE}`: 2 jobs. Failed: Two of them.\n" in text
    book.keep(Outcome(ONE, wrong="", ended="Completed"), SETTINGS)
    assert [outcome.wrong for outcome in book.standing(WHOLE).again] == ["2 jobs"]


def test_a_page_says_what_was_run_when_and_under_which_settings(book: Book[deaths.Cell]) -> None:
    for cell, settings in zip(WHOLE, [SETTINGS, SETTINGS, {"shards": 4}, {}], strict=False):
        book.keep(Outcome(cell, wrong=""), settings)
    for number, day in enumerate(("2026-01-02", "2026-01-02", "2026-01-01", "2026-01-03")):
        rewritten(book, number, day=day, **({"digest": "0" * 12} if number == 3 else {}))
    assert page(book.standing(WHOLE)).partition("| cells |\n|---|---|---|\n")[2] == (
        "| 2026-01-01 | shards 4 | 1 |\n| 2026-01-02 | shards 2, heartbeat_seconds 30 | 2 |\n"
    )


def test_a_fault_s_cell_is_void_when_a_stage_may_make_the_call_that_did_not_then(faults: Book[Cell]) -> None:
    faults.keep(Outcome(fault("sample_dataset", "teardown"), wrong=""), SETTINGS)
    assert faults.standing([fault("teardown")]).green == {fault()}
    found = faults.standing([fault("teardown", "register_model")])
    assert not found.green and found.void == {fault()}


def test_the_page_of_faults_counts_by_fault_and_shows_ends_and_occasions(faults: Book[Cell]) -> None:
    planned = [fault(), fault(path="/b"), fault(effect="lasting 403"), fault(path="/c")]
    said = "Stage teardown failed: No. Check it. Released: nothing."
    faults.keep(Outcome(planned[0], wrong="", ended="Completed", how="with 1 others"), SETTINGS)
    faults.keep(Outcome(planned[1], wrong="3 jobs", ended="Failed", message="x" * 401), SETTINGS)
    faults.keep(Outcome(planned[2], wrong="", ended="Failed", message=said, seconds=7.0), SETTINGS)
    faults.keep(Outcome(fault(path="/gone"), wrong="", ended="Completed"), SETTINGS)
    text = report.page(faults.standing(planned))
    assert "**2 of 4 cells are as they must be.** The others: 1 not as they must be; 1 not run.\n" in text
    assert "| 500, once | 2 | 1 |\n| lasting 403 | 1 | 1 |" in text and "1 of the 2 cells" in text
    assert f"* `{planned[1]}`: 3 jobs. Failed: {'x' * 400} ...\n" in text
    assert (
        "| `PUT /a` | 1 of 1 | teardown 7 |" in text and "| `PUT /b` | **0 of 1** |  |" in text and "/gone" not in text
    )
    assert "not tried" not in text and "Faults that last were not tried" in report.page(faults.standing(planned[:2]))


@pytest.mark.parametrize("options", [[], ["--resume"], ["--only", f"{OTHER.stage} x *"]])
def test_a_command_runs_what_is_asked_for_and_not_known(
    options: list[str], book: Book[deaths.Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    book.keep(Outcome(ONE, wrong=""), SETTINGS)
    book.keep(Outcome(OTHER, wrong="2 jobs"), SETTINGS)
    _read.cache_clear()
    session = Session(book, parser("this", None).parse_args(options), SETTINGS)
    digest.cache_clear()
    read = _read.cache_info().misses
    wanted = {"": WHOLE, "--resume": WHOLE[1:], "--only": WHOLE[-len(deaths.Death) :]}
    assert session.wanted(WHOLE) == wanted["".join(options[:1])]
    session.tell(Outcome(OTHER, wrong="", ended="Cancelled"))
    assert _read.cache_info().misses == read, "the source is read before the first cell is run"
    green = 1 + ("--resume" in options)
    assert session.end(page, tmp_path / "page.md") == 1
    assert f"**{green} of {len(WHOLE)}" in (tmp_path / "page.md").read_text()
    session.wanted([OTHER])
    assert session.end(page, tmp_path / "page.md") == 0
