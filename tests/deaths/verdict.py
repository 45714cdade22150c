"""What became of a run: judged by Azure's and Prefect's own records."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from tests.deaths.cells import Cell
from tests.deaths.site import Run
from tests.resilience.verdict import FINAL, HOOK_FAILED, not_well
from tests.resilience.waiting import Late, await_until

CLEAR_SECONDS = 240
CALLED_SECONDS = 120
BY_THE_HOUR = "by-the-hour-"
ZOMBIES = "No heartbeat"
HOOK = "Running hook 'release_what_it_made'"


def judge(run: Run, last: Cell) -> tuple[list[str], float]:
    """What is wrong with a final `run`, which met its last death in `last`, and when nothing of it was running any more, in seconds
    of the monotonic clock; waits for what releases what it has left. Not only the run must end as that death has it: the
    reaper's runs that it caused must be Completed, and none of its hooks may have failed."""
    wrong: list[str] = []
    records = run.site.records
    try:
        await_until(lambda: not run.processes(), CLEAR_SECONDS, "the end of its processes")
        if run.read()["state_type"] != "COMPLETED":
            _await_reaper(run)
        await_until(lambda: not records.left(run.id), CLEAR_SECONDS, "the release of what it made")
    except Late as late:
        wrong += [str(late), *records.left(run.id)]
    clear_at = time.monotonic()
    with contextlib.suppress(Late):
        await_until(
            lambda: _are_final(_called(run) + _by_the_hour(run), least=0), CLEAR_SECONDS, "the end of its reapers"
        )
    wrong += last.expected.unlike(run.read()["state_name"], len(records.jobs(run.id)), records.versions(run.given))
    wrong += not_well(_called(run) + _by_the_hour(run)) + [line for line in run.said() if HOOK_FAILED in line]
    return wrong, clear_at


def _await_reaper(run: Run) -> None:
    """Until a reaper that was called for the run has ended. Prefect's server on SQLite loses events when it is busy (it says
    "database is locked" and drops the batch): then the reaper's next hour comes, which is what the hour is for."""
    with contextlib.suppress(Late):
        await_until(lambda: _are_final(_called(run)), CALLED_SECONDS, "a reaper that was called for it")
        return
    run.site.reap(BY_THE_HOUR + run.word)
    await_until(lambda: _are_final(_by_the_hour(run)), CLEAR_SECONDS, "the end of the reaper's hourly run")


def recovery(run: Run) -> str:
    """What noticed the death, and what put it right, from the run's states and from what hooks and reaper said."""
    ask = run.site.ask
    states = ask(f"/flow_run_states/?flow_run_id={run.id}", method="GET")
    said = "\n".join(f"{state['name']} {state['message'] or ''}" for state in states)
    signs = {
        "zombie automation": ZOMBIES in said,
        "worker": "Process exited with status code" in said,
        "the process itself": "termination signal" in said,
        "hook": any(HOOK in line or line.startswith("Run ended as") for line in run.said()),
        "reaper": _reaped(run),
        "reaper, by the hour": _by_the_hour(run),
        "retry": "AwaitingRetry" in said,
        "resume": "Resuming" in said,
    }
    return ", ".join(name for name, is_there in signs.items() if is_there)


def _called(run: Run) -> list[dict[str, Any]]:
    """The runs of the reaper that were called for this run."""
    found = run.site.records.runs(flows={"name": {"any_": ["reap"]}})
    return [reaper for reaper in found if str(run.id) in str(reaper["parameters"].get("resource"))]


def _by_the_hour(run: Run) -> list[dict[str, Any]]:
    """The reaper's runs that stood in for its next hour for this run."""
    return run.site.records.runs(flow_runs={"name": {"any_": [BY_THE_HOUR + run.word]}})


def _are_final(reapers: list[dict[str, Any]], least: int = 1) -> bool:
    """Whether there are so many, and all have ended."""
    return len(reapers) >= least and all(reaper["state_type"] in FINAL for reaper in reapers)


def _reaped(run: Run) -> bool:
    """Whether one of them released something."""
    if not (called := [reaper["id"] for reaper in _called(run)]):
        return False
    lines = run.site.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": called}}, "limit": 200})
    return any(str(line["message"]).startswith("Releasing") for line in lines)
