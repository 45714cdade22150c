"""What was seen counts on the source that it was seen on; the pages tell what counts, since when and how."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import matrix, report
from tests.chaos.calls import Call
from tests.chaos.matrix import Cell
from tests.deaths import cells as deaths
from tests.deaths.cells import WHOLE
from tests.deaths.report import page
from tests.resilience.seen import Book, Outcome, commit
from tests.resilience.session import Session, parser

SETTINGS = {"shards": 2, "heartbeat_seconds": 30}
ONE, OTHER = WHOLE[0], WHOLE[-1]


@pytest.fixture
def book(tmp_path: Path) -> Book[deaths.Cell]:
    return replace(deaths.BOOK, file=tmp_path / "new" / "deaths.jsonl")


@pytest.fixture
def faults(tmp_path: Path) -> Book[Cell]:
    return replace(matrix.BOOK, file=tmp_path / "faults.jsonl")


@pytest.fixture
def in_good_order() -> Iterator[None]:
    """What a command does when it is told to end is not what the tests do."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def rewritten(book: Book[Any], number: int, **changes: Any) -> None:
    """Changes a line of the file."""
    lines = book.file.read_text().splitlines()
    lines[number] = json.dumps({**json.loads(lines[number]), **changes})
    book.file.write_text("\n".join(lines) + "\n")


def fault(*stages: str, path: str = "/a", effect: str = "500") -> Cell:
    return Cell(Call("PUT", path), effect, trains=False, stages=stages)


def test_a_cell_counts_until_what_it_was_seen_on_has_changed(book: Book[deaths.Cell]) -> None:
    for cell in (ONE, OTHER):
        book.keep(Outcome(cell, wrong="", ended="Completed", seconds=3.0), SETTINGS)
    rewritten(book, 0, digest="0" * 12)
    standing = book.standing(WHOLE)
    assert standing.green == {OTHER} and standing.void == {ONE}
    text = page(standing)
    assert f"**1 of {len(WHOLE)} cells are as they must be.** The others: 1 void, since" in text
    assert f"; {len(WHOLE) - 2} not run." in text
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{ONE.stage}` |")]
    assert row.count("void") == 1 and row.count("not run") == len(row.split("|")) - 4
    book.keep(Outcome(ONE, wrong="", ended="Completed"), SETTINGS)
    assert not book.standing(WHOLE).void


def test_a_line_has_the_cell_its_digest_the_day_and_the_settings(book: Book[deaths.Cell]) -> None:
    book.keep(Outcome(ONE, wrong="two jobs", ended="Failed", message="No.", seconds=3.0, how="hook"), SETTINGS)
    [line] = map(json.loads, book.file.read_text().splitlines())
    assert line.keys() == {"outcome", "digest", "day", "commit", "settings"}
    assert line["outcome"]["cell"] == {"stage": ONE.stage, "death": ONE.death}
    assert line["settings"] == SETTINGS and line["commit"] == commit() and len(line["digest"]) == 12
    [outcome] = book.standing(WHOLE).outcomes
    assert outcome == Outcome(ONE, "two jobs", "Failed", "No.", 3.0, "hook")


def test_a_cell_that_was_run_again_shows_the_last_and_tells_of_the_first(book: Book[deaths.Cell]) -> None:
    book.keep(Outcome(ONE, wrong="2 jobs", ended="Failed", message="Two of them."), SETTINGS)
    assert "## Not as it must be" in page(book.standing(WHOLE)) and "**red** Failed" in page(book.standing(WHOLE))
    book.keep(Outcome(ONE, wrong="", ended="Completed", seconds=4.0), SETTINGS)
    text = page(book.standing(WHOLE))
    assert "Completed, 4 s" in text and f"## Run again, after this\n\n* `{ONE}`: 2 jobs. Failed: Two of them.\n" in text
    assert "## Not as it must be" not in text


def test_what_was_not_as_it_must_be_on_another_source_is_not_told_of_this_one(book: Book[deaths.Cell]) -> None:
    book.keep(Outcome(ONE, wrong="2 jobs", ended="Failed"), SETTINGS)
    rewritten(book, 0, digest="0" * 12)
    book.keep(Outcome(ONE, wrong="", ended="Completed"), SETTINGS)
    assert "2 jobs" not in page(book.standing(WHOLE))


def test_a_page_says_what_was_run_when_and_under_which_settings(book: Book[deaths.Cell]) -> None:
    for cell, settings in zip(WHOLE, [SETTINGS, SETTINGS, {"shards": 4}, {}], strict=False):
        book.keep(Outcome(cell, wrong=""), settings)
    for number, day in enumerate(("2026-01-02", "2026-01-02", "2026-01-01", "2026-01-03")):
        rewritten(book, number, day=day, commit="commit abc", **({"digest": "0" * 12} if number == 3 else {}))
    text = page(book.standing(WHOLE))
    assert text.partition("| cells |\n|---|---|---|---|\n")[2] == (
        "| 2026-01-01 | commit abc | shards 4 | 1 |\n| 2026-01-02 | commit abc | shards 2, heartbeat_seconds 30 | 2 |\n"
    )


def test_a_fault_s_cell_is_void_when_a_stage_may_make_the_call_that_did_not_then(faults: Book[Cell]) -> None:
    faults.keep(Outcome(fault("sample_dataset", "teardown"), wrong=""), SETTINGS)
    assert faults.standing([fault("teardown")]).green == {fault()}
    found = faults.standing([fault("teardown", "register_model")])
    assert not found.green and found.void == {fault()}


def test_a_fault_s_digest_is_of_all_the_stages_that_may_make_the_call(faults: Book[Cell]) -> None:
    for stages in (("teardown",), ("sample_dataset",), ("sample_dataset", "teardown")):
        faults.keep(Outcome(fault(*stages), wrong=""), SETTINGS)
    assert len({json.loads(line)["digest"] for line in faults.file.read_text().splitlines()}) == 3


def test_the_page_of_faults_counts_by_fault_and_shows_ends_and_occasions(faults: Book[Cell]) -> None:
    planned = [
        fault("teardown"),
        fault("teardown", path="/b"),
        fault("teardown", effect="lasting 403"),
        fault(path="/c"),
    ]
    said = "Stage teardown failed: No. Check it. Released: nothing."
    faults.keep(Outcome(planned[0], wrong="", ended="Completed", how="with 1 others"), SETTINGS)
    faults.keep(Outcome(planned[1], wrong="3 jobs", ended="Failed"), SETTINGS)
    faults.keep(Outcome(planned[2], wrong="", ended="Failed", message=said, seconds=7.0), SETTINGS)
    faults.keep(Outcome(fault(path="/gone"), wrong="", ended="Completed"), SETTINGS)
    text = report.page(faults.standing(planned))
    assert "**2 of 4 cells are as they must be.** The others: 1 not as they must be; 1 not run.\n" in text
    assert "| 500, once | 2 | 1 |\n| lasting 403 | 1 | 1 |" in text and "1 of the 2 cells" in text
    assert "| `PUT /a` | teardown 7 |" in text and "| `PUT /a` | 1 of 1 |" in text
    assert "| `PUT /b` | **0 of 1** |" in text and "/gone" not in text
    assert "Faults that last were not tried" in report.page(faults.standing(planned), lasting=False)


@pytest.mark.usefixtures("in_good_order")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [([], WHOLE), (["--resume"], WHOLE[1:]), (["--only", f"{OTHER.stage} x cancel"], None)],
)
def test_a_command_runs_what_is_asked_for_and_not_known(
    options: list[str], wanted: list[deaths.Cell] | None, book: Book[deaths.Cell], tmp_path: Path
) -> None:
    book.keep(Outcome(ONE, wrong=""), SETTINGS)
    book.keep(Outcome(OTHER, wrong="2 jobs"), SETTINGS)
    session = Session(book, parser("this", None).parse_args(options), SETTINGS)
    cancelled = deaths.Cell(OTHER.stage, deaths.Death.CANCELLED)
    assert session.wanted(WHOLE) == (wanted or [cancelled])
    session.tell(Outcome(cancelled, wrong="", ended="Cancelled"))
    file = tmp_path / "page.md"
    assert session.end(page, file) == 1
    assert f"**{1 + ('--resume' in options)} of" in file.read_text()


@pytest.mark.usefixtures("in_good_order")
def test_a_command_is_content_when_every_cell_is_as_it_must_be(book: Book[deaths.Cell], tmp_path: Path) -> None:
    session = Session(book, parser("this", None).parse_args([]), SETTINGS)
    session.wanted([ONE])
    session.tell(Outcome(ONE, wrong="", ended="Completed"))
    assert session.end(page, tmp_path / "page.md") == 0
