"""Runs at the same time share a cluster and a workspace, and touch nothing of each other's."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect import State

from blocks import AzureMLWorkspace
from flows.outcome import FlowResult
from tests.flows.test_finetune import endpoints, run, running_jobs

RUNS = 10


def test_each_run_has_its_own_job_model_and_endpoint(workspace: AzureMLWorkspace, conversations: Path) -> None:
    def one(number: int) -> State[FlowResult]:
        return run(
            conversations,
            dataset={"source": str(conversations), "percent": 100, "seed": number},
            compute={"cluster": "shared", "max_nodes": 2},
            training={"max_steps": 1, "learning_rate": 0.001, "logging_steps": 1},
            scoring={"max_new_tokens": 12, "rows": 1},
        )

    with ThreadPoolExecutor(RUNS) as pool:
        contexts = [contextvars.copy_context() for _ in range(RUNS)]
        states = list(pool.map(lambda pair: pair[0].run(one, pair[1]), zip(contexts, range(RUNS), strict=True)))

    assert all(state.is_completed() for state in states), [state.message for state in states]
    results = [state.result() for state in states]
    for made in (
        {result.job.name for result in results},
        {result.model.version for result in results},
        {result.endpoint.name for result in results},
        {result.dataset.train.path for result in results},
    ):
        assert len(made) == RUNS
    assert all(result.released.deleted_endpoints == [result.endpoint.name] for result in results)
    assert endpoints(workspace) == []
    assert running_jobs(workspace) == []
