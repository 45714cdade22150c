"""What became of a run: judged by Azure's and Prefect's own records."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from dataclasses import dataclass

from tasks.azure_ml.states import ENDED, word
from tests.deaths.cells import Cell, Stage
from tests.deaths.site import FINAL, Late, Run, await_until

CLEAR_SECONDS = 240
CALLED_SECONDS = 120
BY_THE_HOUR = "by-the-hour-"
MOST_ATTEMPTS = 4
ZOMBIES = "No heartbeat"
HOOK = "Running hook 'release_what_it_made'"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    wrong: str
    """Empty if everything is as it must be."""
    ended: str = ""
    """The run's final state."""
    seconds: float = 0.0
    """From the death until the run was at work again, or final with nothing of it left."""
    recovery: str = ""
    """What brought it there."""
    jobs: int = 0
    """How many the run ever submitted."""
    versions: int = 0
    """How many model versions it registered."""
    message: str = ""
    """The final state's."""


@dataclass(frozen=True)
class Verdict:
    """What a final run has left and made."""

    wrong: list[str]
    ended: str
    message: str
    jobs: int
    versions: int
    clear_at: float
    """When nothing of it was running any more, in seconds of the monotonic clock."""


def judge(run: Run, last: Cell) -> Verdict:
    """Of a final `run`, which met its last death in `last`; waits for what releases what it has left."""
    wrong: list[str] = []
    try:
        await_until(lambda: not run.processes(), CLEAR_SECONDS, "the end of its processes")
        if run.read()["state_type"] != "COMPLETED":
            _await_reaper(run)
        await_until(lambda: not left(run), CLEAR_SECONDS, "the release of what it made")
    except Late as late:
        wrong += [str(late), *(f"left {what}" for what in left(run))]
    clear_at = time.monotonic()
    state = run.read()["state"]
    jobs = sum(run.site.job(run.names.run.job(attempt)) is not None for attempt in range(1, MOST_ATTEMPTS))
    versions = run.site.versions_of(run.names.model)
    if last.death.survived and state["name"] != "Completed":
        wrong.append(f"ended {state['name']}")
    completed = state["type"] == "COMPLETED"
    if jobs not in _jobs_expected(last.stage, completed=completed):
        wrong.append(f"submitted {jobs} jobs")
    if versions > 1 or (completed and versions != 1):
        wrong.append(f"registered {versions} versions")
    return Verdict(wrong, state["name"], state["message"] or "", jobs, versions, clear_at)


def _jobs_expected(stage: Stage, *, completed: bool) -> tuple[int, ...]:
    """What a run may have submitted that was last met in `stage`: with the submission under way, it may not have got there."""
    if completed or list(Stage).index(stage) > list(Stage).index(Stage["SUBMIT_PIPELINE"]):
        return (1,)
    return (0, 1) if stage is Stage["SUBMIT_PIPELINE"] else (0,)


def _await_reaper(run: Run) -> None:
    """Until a reaper that was called for the run has ended. Prefect's server on SQLite loses events when it is busy (it says
    "database is locked" and drops the batch): then the reaper's next hour comes, which is what the hour is for."""
    with contextlib.suppress(Late):
        await_until(lambda: _reapers(run, final=True), CALLED_SECONDS, "a reaper that was called for it")
        return
    run.site.reap(BY_THE_HOUR + run.word)
    await_until(lambda: _reaps_by_the_hour(run, FINAL), CLEAR_SECONDS, "the end of the reaper's hourly run")


def left(run: Run) -> list[str]:
    """What costs money and is still there."""
    found = [f"endpoint {name}" for name in sorted(run.site.endpoints_of(run.id))]
    for attempt in range(1, MOST_ATTEMPTS):
        job = run.site.job(run.names.run.job(attempt))
        if job is not None and word(job.status) not in ENDED:
            found.append(f"job {job.name} {word(job.status)}")
    return found


def recovery(run: Run) -> str:
    """What noticed the death, and what put it right, from the run's states and from what hooks and reaper said."""
    ask = run.site.ask
    states = ask(f"/flow_run_states/?flow_run_id={run.id}", method="GET")
    said = "\n".join(f"{state['name']} {state['message'] or ''}" for state in states)
    parts = []
    if ZOMBIES in said:
        parts.append("zombie automation")
    if "Process exited with status code" in said:
        parts.append("worker")
    if "termination signal" in said:
        parts.append("the process itself")
    if any(HOOK in line or line.startswith("Run ended as") for line in run.said()):
        parts.append("hook")
    if _reaped(run):
        parts.append("reaper")
    if _reaps_by_the_hour(run):
        parts.append("reaper, by the hour")
    if "AwaitingRetry" in said:
        parts.append("retry")
    if "Resuming" in said:
        parts.append("resume")
    return ", ".join(parts)


def _reapers(run: Run, *, final: bool) -> list[str]:
    """The runs of the reaper that were called for this run; `final`: none unless all of them have ended."""
    wanted = {"flows": {"name": {"any_": ["reap"]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 200}
    found = run.site.ask("/flow_runs/filter", wanted)
    called = [reaper for reaper in found if str(run.id) in str(reaper["parameters"].get("resource"))]
    if final and any(reaper["state_type"] not in FINAL for reaper in called):
        return []
    return [reaper["id"] for reaper in called]


def _reaps_by_the_hour(run: Run, states: Collection[str] | None = None) -> list[str]:
    """The reaper's runs that stood in for its next hour for this run; in one of `states`, if they are named."""
    found = run.site.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": [BY_THE_HOUR + run.word]}}})
    return [reaper["id"] for reaper in found if states is None or reaper["state_type"] in states]


def _reaped(run: Run) -> bool:
    """Whether one of them released something."""
    if not (called := _reapers(run, final=False)):
        return False
    lines = run.site.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": called}}, "limit": 200})
    return any(str(line["message"]).startswith("Releasing") for line in lines)
