"""Where the matrix runs: the flow on an emulator, in two ways, and what it left."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from azure.core.exceptions import ResourceNotFoundError
from prefect import State

from blocks import AzureMLWorkspace
from flows.reap import reap
from tests.chaos import verdict
from tests.chaos.calls import Call, Record
from tests.emulated import Emulator, pointed_at, running_emulator
from tests.flows.conftest import BLOCK, write_conversations
from tests.flows.test_finetune import endpoints, of_run, run, running_jobs
from tests.prefect_server import prefect_server

BOUND_SECONDS = 300
"""A run under a lasting fault has failed by then."""
HANGS_AFTER_SECONDS = 1200
"""A run that goes on for longer than this is ended."""


@dataclass(frozen=True)
class Ended:
    """How one run ended, judged."""

    wrong: str
    """Empty if everything is as it must be."""
    message: str
    seconds: float
    unmet: frozenset[Call] = frozenset()
    """The faults' calls that the run did not make, so that it tells nothing of them."""


class Hangs(BaseException):
    """The run does not end. Not an Exception: the flow must not take it for a failing stage."""


class Site:
    """An emulator with a saved block, a sample of conversations, and one finished job that runs can adopt."""

    def __init__(self, emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path) -> None:
        self._emulator, self._workspace, self._conversations = emulator, workspace, conversations
        first = self._under({}, trains=True)
        self.trained = self._as_if_nothing_had_been(first, trains=True)
        """How the run ended that trained the job. Faults may have been in force."""
        self.training_record = first.record
        """The calls of that run."""
        assert first.state is not None and first.state.is_completed(), f"the run that trains: {self.trained}"
        self._trained_by = of_run(first.state.result())

    def record(self, *, trains: bool) -> Record:
        """The calls of a run without faults; it runs one. Not those of the workspace's first run, which uploads what the
        later ones find there."""
        done = self._under({}, trains=trains)
        ended = self._as_if_nothing_had_been(done, trains=trains)
        assert not ended.wrong, f"a run without faults: {ended}"
        return done.record

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
        wrong = list(done.wrong)
        if done.state is not None and done.state.name == "Completed":
            wrong += [] if verdict.may_do_without(call) else ["completed, though it cannot do without the call"]
            wrong += done.unlike(jobs=int(trains), versions=1)
        elif done.state is not None:
            wrong += [] if done.state.name == "Failed" else [f"ended {done.state.name}"]
            wrong += verdict.faults_of(done.message)
            wrong += [f"submitted {done.jobs} jobs"] if done.jobs > trains else []
            wrong += [f"registered {done.versions} versions"] if done.versions > 1 else []
        if left := self._left():
            wrong += [] if verdict.UNRELEASED in done.message else [f"it does not say that it {one}" for one in left]
            reap(grace_minutes=0, ttl_hours=0)
            wrong += [f"the reaper {one}" for one in self._left()]
        if done.seconds > BOUND_SECONDS:
            wrong.append(f"took {done.seconds:.0f} s")
        return Ended("; ".join(wrong), done.message, done.seconds)

    def _as_if_nothing_had_been(self, done: _Run, *, trains: bool) -> Ended:
        wrong = list(done.wrong)
        if done.state is not None:
            wrong += [] if done.state.name == "Completed" else [f"ended {done.state.name}"]
            wrong += done.unlike(jobs=int(trains), versions=1)
        return Ended("; ".join(wrong + self._left()), done.message, done.seconds, done.unmet)

    def _under(self, faults: dict[tuple[Call, int], dict[str, Any]], *, trains: bool) -> _Run:
        """One run under `faults`, by call and how often (0: for ever)."""
        jobs, model = self._jobs(), f"chaos-{uuid4().hex[:8]}"
        done = _Run()
        self._emulator.ask("DELETE", "/calls")
        with ExitStack() as rules:
            ids = {
                rules.enter_context(self._emulator.rule({**call.match, "times": times}, effect)): call
                for (call, times), effect in faults.items()
            }
            began = time.monotonic()
            try:
                with _ended_after(HANGS_AFTER_SECONDS):
                    done.state = self._run(model, trains=trains)
            except Hangs:
                done.wrong.append(f"did not end in {HANGS_AFTER_SECONDS} s")
            done.seconds = time.monotonic() - began
            done.unmet = frozenset(call for id, call in ids.items() if not self._emulator.hits(id))
        done.record = self._emulator.ask("GET", "/calls")
        done.jobs, done.versions = len(self._jobs() - jobs), self._versions(model)
        return done

    def _run(self, model: str, *, trains: bool) -> State[Any]:
        """Every run has a cluster of its own, and a training run has data of its own, so that it creates and uploads what
        the first of its kind does."""
        own = f"a{uuid4().hex[:7]}"  # a cluster's name must not end in a dash and digits
        more: dict[str, Any] = {"registration": {"name": model}, "compute": {"cluster": f"chaos-{own}"}}
        if trains:
            more["dataset"] = {"source": str(self._conversations), "percent": 90, "seed": int(own, 16) % 2**31}
        else:
            more["resume_run"] = self._trained_by
        # The defaults are for real outages; here nothing is learned from waiting one out.
        more["pipeline"] = {"tolerate_errors_minutes": 0.5}
        more["scoring"] = {"max_new_tokens": 4, "rows": 2, "retry_budget_seconds": 30}
        return run(self._conversations, **more)

    def _jobs(self) -> set[str]:
        return {str(job.name) for job in self._workspace.client().jobs.list() if job is not None}

    def _versions(self, model: str) -> int:
        try:
            return len(list(self._workspace.client().models.list(name=model)))
        except ResourceNotFoundError:
            return 0

    def _left(self) -> list[str]:
        left = [f"left endpoint {name}" for name in endpoints(self._workspace)]
        return left + [f"left job {name} running" for name in running_jobs(self._workspace)]


@dataclass
class _Run:
    """One run: its final state (None if it had to be ended), what it made, and what is the matter with the run itself."""

    state: State[Any] | None = None
    jobs: int = 0
    versions: int = 0
    seconds: float = 0.0
    record: Record = ()
    unmet: frozenset[Call] = frozenset()
    wrong: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """Its last words."""
        return "" if self.state is None else str(self.state.message)

    def unlike(self, *, jobs: int, versions: int) -> list[str]:
        """How what it made differs from what it had to make."""
        found = [] if self.jobs == jobs else [f"submitted {self.jobs} jobs"]
        return found + ([] if self.versions == versions else [f"registered {self.versions} versions"])


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site of its own, with its own emulator and Prefect server, over an empty `folder`."""
    with running_emulator(folder / "state") as emulator, pointed_at(emulator), prefect_server(folder / "prefect"):
        workspace = emulator.block()
        workspace.save(BLOCK, overwrite=True)
        yield Site(emulator, workspace, write_conversations(folder / "conversations"))


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
