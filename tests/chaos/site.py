"""Where the matrix runs: the flow on an emulator, in two ways, and what it left."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect.settings import PREFECT_API_URL

from flows.finetune import finetune
from flows.reap import reap
from tests.chaos import verdict
from tests.chaos.calls import EVERY_STAGE, Call, Record, attributed
from tests.deployments.operated import ask
from tests.emulated import Emulator, pointed_at, running_emulator
from tests.flows.conftest import BLOCK, write_conversations
from tests.prefect_server import prefect_server
from tests.resilience.verdict import FINAL, Expected, Records, not_well
from tests.resilience.waiting import Late, await_until

BOUND_SECONDS = 300
"""A run under a lasting fault has failed by then."""
HANGS_AFTER_SECONDS = 1200
"""A run that goes on for longer than this is ended."""
TOLD_SECONDS = 60
"""Until Prefect's server has been told of every stage's end."""
PATIENCE = {"tolerate_errors_minutes": 0.5, "retry_budget_seconds": 30}
"""Of the runs. The defaults are for real outages; here nothing is learned from waiting one out."""


@dataclass(frozen=True)
class Ended:
    """How one run ended, judged."""

    wrong: str
    """Empty if everything is as it must be."""
    state: str
    message: str
    seconds: float
    unmet: frozenset[Call] = frozenset()
    """The faults' calls that the run did not make, so that it tells nothing of them."""


class Hangs(BaseException):
    """The run does not end. Not an Exception: the flow must not take it for a failing stage."""


class Site:
    """An emulator with a saved block, a sample of conversations, and one finished job that runs can adopt."""

    def __init__(self, emulator: Emulator, conversations: Path) -> None:
        self._emulator, self._conversations = emulator, conversations
        self._records = Records(emulator.client(), partial(ask, PREFECT_API_URL.value()))
        first = self._under({}, trains=True)
        self.trained = self._as_if_nothing_had_been(first, trains=True)
        """How the run ended that trained the job. Faults may have been in force."""
        self.training_record = first.record
        """The calls of that run."""
        assert first.state == "Completed", f"the run that trains: {self.trained}"
        self._trained_by = str(first.id)

    def record(self, *, trains: bool) -> Record:
        """The calls of a run without faults, with the stages that may have made them; it runs one. Not those of the workspace's
        first run, which uploads what the later ones find there."""
        done = self._under({}, trains=trains)
        ended = self._as_if_nothing_had_been(done, trains=trains)
        assert not ended.wrong, f"a run without faults: {ended}"
        return attributed(done.record, self._stage_times(done.id))

    def once(self, faults: Sequence[tuple[Call, dict[str, Any]]], *, trains: bool) -> Ended:
        """One run in which each of `faults` happens once: it must complete as if there were none."""
        done = self._under({(call, 1): effect for call, effect in faults}, trains=trains)
        return self._as_if_nothing_had_been(done, trains=trains)

    def lasting(self, call: Call, effect: dict[str, Any], *, trains: bool) -> Ended:
        """One run during which `call` goes wrong from its occasion on: it must fail in time and in words, double nothing,
        and leave nothing but what it says, which the reaper releases once Azure is well. A run that can do without the
        call may complete, as if there were no fault."""
        done = self._under({(call, 0): effect}, trains=trains)
        if done.unmet:
            return self._as_if_nothing_had_been(done, trains=trains)
        if done.state == "Completed":
            may = verdict.may_do_without(call)
            wrong = done.unlike(_good(trains)) + ([] if may else ["completed, though it cannot do without the call"])
        else:
            wrong = done.unlike(Expected("Failed", range(trains + 1), (0, 1))) + verdict.faults_of(done.message)
        if left := self._records.left():
            wrong += [] if verdict.UNRELEASED in done.message else [f"it does not say that it {one}" for one in left]
            reap(grace_minutes=0, ttl_hours=0, return_state=True)
            wrong += [f"the reaper {one}" for one in self._records.left()]
        if done.seconds > BOUND_SECONDS:
            wrong.append(f"took {done.seconds:.0f} s")
        return self._judged(done, wrong)

    def _as_if_nothing_had_been(self, done: _Run, *, trains: bool) -> Ended:
        return self._judged(done, done.unlike(_good(trains)) + self._records.left())

    def _judged(self, done: _Run, wrong: list[str]) -> Ended:
        """With every other run since it began: those of the reaper."""
        since = self._records.runs(flow_runs={"start_time": {"after_": done.since}})
        wrong += not_well(other for other in since if other["id"] != str(done.id))
        return Ended("; ".join(wrong), done.state, done.message, done.seconds, done.unmet)

    def _stage_times(self, id: UUID) -> list[tuple[str, float, float]]:
        """Name, beginning and end of each of the run's stages. If the server was not told of all: of every stage, always."""

        def ended() -> list[tuple[str, float, float]]:
            tasks = [task for task in self._records.tasks(id) if task["state_type"] in FINAL]
            names = [str(task["name"]).rpartition("-")[0] for task in tasks]
            times = [(_seconds(task["start_time"]), _seconds(task["end_time"])) for task in tasks]
            return (
                [(name, *time) for name, time in zip(names, times, strict=True)] if {*EVERY_STAGE} <= {*names} else []
            )

        try:
            return await_until(ended, TOLD_SECONDS, f"the end of every stage of {id}")
        except Late:
            return []

    def _under(self, faults: dict[tuple[Call, int], dict[str, Any]], *, trains: bool) -> _Run:
        """One run under `faults`, by call and how often (0: for ever)."""
        jobs, model = self._jobs(), f"chaos-{uuid4().hex[:8]}"
        done = _Run(since=datetime.now(UTC).isoformat())
        self._emulator.ask("DELETE", "/calls")
        with ExitStack() as rules:
            ids = {
                rules.enter_context(self._emulator.rule({**call.match, "times": times}, effect)): call
                for (call, times), effect in faults.items()
            }
            began = time.monotonic()
            try:
                with _ended_after(HANGS_AFTER_SECONDS):
                    self._run(model, trains=trains)
            except Hangs:
                done.wrong.append(f"did not end in {HANGS_AFTER_SECONDS} s")
            done.seconds = time.monotonic() - began
            done.unmet = frozenset(call for id, call in ids.items() if not self._emulator.hits(id))
        done.record = self._emulator.ask("GET", "/calls")
        done.jobs, done.versions = len(self._jobs() - jobs), self._records.versions(model)
        of_flow = {"flows": {"name": {"any_": [finetune.name]}}}
        [found] = self._records.runs(**of_flow, flow_runs={"start_time": {"after_": done.since}})
        done.id, done.state, done.message = UUID(found["id"]), found["state_name"], found["state"]["message"] or ""
        return done

    def _run(self, model: str, *, trains: bool) -> None:
        """Every run has a cluster of its own, and a training run has data of its own, so that it creates and uploads what
        the first of its kind does."""
        own = f"a{uuid4().hex[:7]}"  # a cluster's name must not end in a dash and digits
        data = {"percent": 90, "seed": int(own, 16) % 2**31} if trains else {"percent": 100}
        parameters: dict[str, Any] = {
            "dataset": {"source": str(self._conversations), **data},
            "compute": {"cluster": f"chaos-{own}"},
            "training": {"max_steps": 6, "learning_rate": 0.001, "logging_steps": 2},
            "pipeline": {"tolerate_errors_minutes": PATIENCE["tolerate_errors_minutes"]},
            "registration": {"name": model},
            "deployment": {"liveness_initial_delay": 1},
            "scoring": {"max_new_tokens": 4, "rows": 2, "retry_budget_seconds": PATIENCE["retry_budget_seconds"]},
            "resume_run": None if trains else self._trained_by,
        }
        finetune(**parameters, return_state=True)

    def _jobs(self) -> set[str]:
        return {str(job.name) for job in self._records.jobs()}


@dataclass
class _Run:
    """One run: its final state, what it made, and what is the matter with the run itself."""

    since: str
    """When it was begun, as ISO 8601 has it."""
    id: UUID = field(default_factory=uuid4)
    state: str = ""
    message: str = ""
    """Its last words."""
    jobs: int = 0
    versions: int = 0
    seconds: float = 0.0
    record: Record = ()
    unmet: frozenset[Call] = frozenset()
    wrong: list[str] = field(default_factory=list)

    def unlike(self, expected: Expected) -> list[str]:
        """How its end and what it made differ from it."""
        return self.wrong + expected.unlike(self.state, self.jobs, self.versions)


def _good(trains: bool) -> Expected:
    return Expected("Completed", {int(trains)}, {1})


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site of its own, with its own emulator and Prefect server, over an empty `folder`."""
    with running_emulator(folder / "state") as emulator, pointed_at(emulator), prefect_server(folder / "prefect"):
        emulator.block().save(BLOCK, overwrite=True)
        yield Site(emulator, write_conversations(folder / "conversations"))


@contextmanager
def _ended_after(seconds: int) -> Iterator[None]:
    """Raises `Hangs` in the main thread if the block takes longer."""

    def ring(*_: Any) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
