"""Where the matrix runs: the flow on an emulator, in two ways, and what it left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import State

from blocks import AzureMLWorkspace
from flows.reap import reap
from tests.chaos.calls import Call, distinct
from tests.emulated import Emulator
from tests.flows.test_finetune import endpoints, run, running_jobs

BOUND_SECONDS = 300
"""A run under a lasting fault has failed by then."""


@dataclass(frozen=True)
class Ended:
    """How one run ended, judged."""

    wrong: str
    """Empty if everything is as it must be."""
    message: str
    seconds: float


class Site:
    """An emulator with a saved block, a sample of conversations, and one finished job that runs can adopt."""

    def __init__(self, emulator: Emulator, workspace: AzureMLWorkspace, conversations: Path) -> None:
        self._emulator, self._workspace, self._conversations = emulator, workspace, conversations
        state, calls = self._recorded(trains=True)
        self._trained: str = state.result().job.name
        self.training_calls = calls
        """The calls of a run that trains."""

    def adopting_calls(self) -> list[Call]:
        """The calls of a run that takes over the finished job; it runs one."""
        return self._recorded(trains=False)[1]

    def once(self, faults: Sequence[tuple[Call, dict[str, Any]]], *, trains: bool) -> Ended:
        """One run in which each of `faults` happens once: it must complete as if there were none."""
        jobs = self._jobs()
        model, began = f"chaos-{uuid4().hex[:8]}", time.monotonic()
        wrong: list[str] = []
        try:
            with ExitStack() as rules:
                for call, effect in faults:
                    rules.enter_context(self._emulator.fault({**call.match, "times": 1}, effect))
                state = self._run(model, trains=trains)
        except AssertionError as never_met:
            # The run is over all the same, and what it left counts.
            return Ended(str(never_met), "", time.monotonic() - began)
        seconds = time.monotonic() - began
        if state.name != "Completed":
            wrong.append(f"ended {state.name}")
        if (submitted := len(self._jobs() - jobs)) != trains:
            wrong.append(f"submitted {submitted} jobs")
        if (versions := len(list(self._workspace.client().models.list(name=model)))) != 1:
            wrong.append(f"registered {versions} versions")
        return Ended("; ".join(wrong + self._left()), str(state.message), seconds)

    def lasting(self, call: Call, effect: dict[str, Any], *, trains: bool) -> Ended:
        """One run during all of which `call` goes wrong: it must fail in time and in words, and leave nothing that the
        reaper does not find once Azure is well; or get by without the call, and complete."""
        began = time.monotonic()
        try:
            with self._emulator.fault({**call.match, "times": 0}, effect):
                state = self._run(f"chaos-{uuid4().hex[:8]}", trains=trains)
                seconds = time.monotonic() - began
        except AssertionError as never_met:
            return Ended(str(never_met), "", time.monotonic() - began)
        wrong: list[str] = []
        if state.is_failed() and "Stage " not in str(state.message):
            wrong.append("the message names no stage")
        if not state.is_failed() and state.name != "Completed":
            wrong.append(f"ended {state.name}")
        if seconds > BOUND_SECONDS:
            wrong.append(f"took {seconds:.0f} s")
        if self._left():
            reap(grace_minutes=0, ttl_hours=0)
        return Ended("; ".join(wrong + self._left()), f"{state.name}: {state.message}", seconds)

    def _recorded(self, *, trains: bool) -> tuple[State[Any], list[Call]]:
        self._emulator.ask("DELETE", "/calls")
        state = self._run(f"chaos-{uuid4().hex[:8]}", trains=trains)
        assert state.is_completed(), f"a run without faults: {state.message}"
        return state, distinct(self._emulator.ask("GET", "/calls"))

    def _run(self, model: str, *, trains: bool) -> State[Any]:
        """Every run has a cluster of its own, and a training run has data of its own, so that it creates and uploads what
        the first of its kind does."""
        own = uuid4().hex[:8]
        more: dict[str, Any] = {"registration": {"name": model}, "compute": {"cluster": f"chaos-{own}"}}
        if trains:
            more["dataset"] = {"source": str(self._conversations), "percent": 90, "seed": int(own, 16) % 2**31}
        else:
            more["job_key"] = self._trained
        # The defaults are for real outages; here nothing is learned from waiting one out.
        more["pipeline"] = {"tolerate_errors_minutes": 0.5}
        more["scoring"] = {"max_new_tokens": 4, "rows": 2, "retry_budget_seconds": 30}
        return run(self._conversations, **more)

    def _jobs(self) -> set[str]:
        return {str(job.name) for job in self._workspace.client().jobs.list() if job is not None}

    def _left(self) -> list[str]:
        left = [f"left endpoint {name}" for name in endpoints(self._workspace)]
        return left + [f"left job {name} running" for name in running_jobs(self._workspace)]
