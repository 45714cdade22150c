"""Where the matrix runs: the flow on an emulator, in two ways, and what it left."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

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
from tests.resilience.waiting import await_until

BOUND_SECONDS = 300
"""A run under a lasting fault has failed by then."""
HANGS_AFTER_SECONDS = 1200
"""A run that goes on for longer than this is ended."""
TOLD_SECONDS = 60
"""Until Prefect's server has been told of every stage's end."""
PATIENCE = {"tolerate_errors_minutes": 0.5, "retry_budget_seconds": 30}
"""Of the runs. The defaults are for real outages; here nothing is learned from waiting one out."""


@dataclass
class Ended:
    """How one run ended, what it made, and what is wrong with that."""

    since: datetime
    id: str = ""
    state: str = ""
    message: str = ""
    jobs: int = 0
    versions: int = 0
    seconds: float = 0.0
    record: Record = ()
    unmet: frozenset[Call] = frozenset()
    """The faults' calls that the run did not make, so that it tells nothing of them."""
    wrong: list[str] = field(default_factory=list)


class Hangs(BaseException):
    """The run does not end. Not an Exception: the flow must not take it for a failing stage."""


class Site:
    """An emulator with a saved block, a sample of conversations, and one finished job that runs can adopt."""

    def __init__(self, emulator: Emulator, conversations: Path) -> None:
        self._emulator, self._conversations = emulator, conversations
        self._records = Records(emulator.client(), partial(ask, PREFECT_API_URL.value()))
        self._trained_by: str | None = None
        self.trained = self._judged(self._under({}), trains=True)
        """How the run ended that trained the job. Faults may have been in force."""
        assert self.trained.state == "Completed", f"the run that trains: {self.trained.message}"
        self._trained_by = self.trained.id

    def record(self, *, trains: bool) -> Record:
        """The calls of a run without faults, with the stages that may have made them; it runs one. Not those of the workspace's
        first run, which uploads what the later ones find there."""
        done = self.once([], trains=trains)
        assert not done.wrong, f"a run without faults: {done.wrong}; {done.message}"
        return attributed(done.record, self._stage_times(done.id))

    def once(self, faults: Sequence[tuple[Call, dict[str, Any]]], *, trains: bool) -> Ended:
        """One run in which each of `faults` happens once: it must complete as if there were none."""
        return self._judged(self._under({(call, 1): effect for call, effect in faults}, trains=trains), trains=trains)

    def lasting(self, call: Call, effect: dict[str, Any], *, trains: bool) -> Ended:
        """One run during which `call` goes wrong from its occasion on: it must fail in time and in words, double nothing,
        and leave nothing but what it says, which the reaper releases once Azure is well. A run that can do without the
        call may complete, as if there were no fault."""
        done = self._under({(call, 0): effect}, trains=trains)
        done.wrong += [f"took {done.seconds:.0f} s"] if done.seconds > BOUND_SECONDS else []
        if done.unmet or (done.state == "Completed" and verdict.may_do_without(call)):
            return self._judged(done, trains=trains)
        done.wrong += verdict.faults_of(done.message)
        if left := self._records.left():
            done.wrong += [f"it does not say that it {one}" for one in left if verdict.UNRELEASED not in done.message]
            reap(grace_minutes=0, ttl_hours=0, return_state=True)
            done.wrong += [f"the reaper {one}" for one in self._records.left()]
        return self._ended(done, Expected("Failed", range(trains + 1), (0, 1)))

    def _judged(self, done: Ended, *, trains: bool) -> Ended:
        """As if there had been no fault."""
        done.wrong += self._records.left()
        return self._ended(done, Expected("Completed", {int(trains)}, {1}))

    def _ended(self, done: Ended, expected: Expected) -> Ended:
        """Judged with every other run since it began: those of the reaper."""
        done.wrong += expected.unlike(done.state, done.jobs, done.versions)
        done.wrong += not_well(run for run in self._records.runs(**_since(done)) if run["id"] != done.id)
        return done

    def _stage_times(self, id: str) -> list[tuple[str, float, float]]:
        """Name, beginning and end of each of the run's stages, once Prefect's server has been told of all."""

        def ended() -> list[tuple[str, float, float]]:
            times = [
                (str(task["name"]).rpartition("-")[0], _seconds(task["start_time"]), _seconds(task["end_time"]))
                for task in self._records.tasks(id) if task["state_type"] in FINAL
            ]  # fmt: skip
            return times if {*EVERY_STAGE} <= {name for name, *_ in times} else []

        return await_until(ended, TOLD_SECONDS, f"the end of every stage of {id}")

    def _under(self, faults: dict[tuple[Call, int], dict[str, Any]], *, trains: bool = True) -> Ended:
        """One run under `faults`, by call and how often (0: for ever)."""
        jobs, model, done = len(self._records.jobs()), f"chaos-{uuid4().hex[:8]}", Ended(datetime.now(UTC))
        self._emulator.ask("DELETE", "/calls")
        with ExitStack() as rules:
            ids = {
                rules.enter_context(self._emulator.rule({**asdict(call), "times": times}, effect)): call
                for (call, times), effect in faults.items()
            }
            began = time.monotonic()
            signal.signal(signal.SIGALRM, _hangs)
            signal.alarm(HANGS_AFTER_SECONDS)
            try:
                self._run(model, trains=trains)
            except Hangs:
                done.wrong.append(f"did not end in {HANGS_AFTER_SECONDS} s")
            finally:
                signal.alarm(0)
            done.seconds = round(time.monotonic() - began, 1)
            done.unmet = frozenset(call for id, call in ids.items() if not self._emulator.hits(id))
        done.record = self._emulator.ask("GET", "/calls")
        done.jobs, done.versions = len(self._records.jobs()) - jobs, self._records.versions(model)
        [run] = self._records.runs(flows={"name": {"any_": [finetune.name]}}, **_since(done))
        done.id, done.state, done.message = run["id"], run["state_name"], run["state"]["message"] or ""
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


def _hangs(*_: Any) -> None:
    raise Hangs


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _since(done: Ended) -> dict[str, Any]:
    return {"flow_runs": {"start_time": {"after_": done.since.isoformat()}}}


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site of its own, with its own emulator and Prefect server, over an empty `folder`."""
    with running_emulator(folder / "state") as emulator, pointed_at(emulator), prefect_server(folder / "prefect"):
        emulator.block().save(BLOCK, overwrite=True)
        yield Site(emulator, write_conversations(folder / "conversations"))
