"""`python -m deployments.stack.contents`: what the stack's Prefect server must hold before it is deployed to.

Reads the workspace's config.json from standard input and goes to the server of `PREFECT_API_URL`. Running it again changes
nothing. With `--adopt`, runs that a worker left behind when it was stopped go on: they are handed to the next one, and
find the job that they had submitted.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from deployments.automate import save_all
from deployments.stack.layout import BLOCK, WORK_POOL

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def main(arguments: list[str] | None = None) -> None:
    """Makes the work pool, both block types, the workspace's block and every automation in `deployments/automations`."""
    from prefect.client.orchestration import get_client

    parser = argparse.ArgumentParser(prog="python -m deployments.stack.contents")
    parser.add_argument("--adopt", action="store_true", help="no worker runs: let its unfinished runs go on")
    adopt = parser.parse_args(arguments).adopt
    _save_block(json.load(sys.stdin))
    with get_client(sync_client=True) as client:
        _make_work_pool(client)
        print(*save_all(client), sep="\n")
        if adopt:
            _let_unfinished_runs_go_on(client)


def _save_block(config: dict[str, str]) -> None:
    from blocks import AzureCredentials, AzureMLWorkspace

    AzureCredentials.register_type_and_schema()
    AzureMLWorkspace(**config).save(BLOCK, overwrite=True)
    print(f"block azure-ml-workspace/{BLOCK}")


def _make_work_pool(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    print(f"work pool {WORK_POOL}")


def _let_unfinished_runs_go_on(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import AwaitingRetry, Cancelled

    left = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [WORK_POOL]}})
    for run in client.read_flow_runs(flow_run_filter=left, work_pool_filter=pool):
        assert run.state is not None
        if run.state.is_cancelling():
            client.set_flow_run_state(
                run.id, Cancelled(message="The stack was taken down while it was cancelled."), force=True
            )
        else:
            client.set_flow_run_state(
                run.id, AwaitingRetry(message="The stack was taken down; the run goes on."), force=True
            )
        print(f"run {run.name} goes on")


if __name__ == "__main__":
    main()
