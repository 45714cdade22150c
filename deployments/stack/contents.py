"""`python -m deployments.stack.contents`: what the stack's Prefect server must hold before it is deployed to.

Reads the workspace's config.json from standard input and goes to the server of `PREFECT_API_URL`. What is there is left as it is,
but for the fields of the block that nobody has changed. With `--adopt`, runs that the stack's worker left behind when it was
stopped go on: they are handed to the next one, and find the job that they had submitted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from deployments.remembered import Remembered
from deployments.stack.layout import BLOCK, WORK_POOL, WORKER
from deployments.stack.processes import runs_of_flows

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


def main(arguments: list[str] | None = None) -> None:
    """Makes the work pool, both block types and the workspace's block; says of each whether it was there."""
    from prefect.client.orchestration import get_client

    parser = argparse.ArgumentParser(prog="python -m deployments.stack.contents")
    parser.add_argument("--adopt", action="store_true", help="no worker runs: let its unfinished runs go on")
    parser.add_argument("--reset", action="store_true", help="also undo what was changed in the UI")
    options = parser.parse_args(arguments)
    memory = Remembered(reset=options.reset)
    _save_block(json.load(sys.stdin), memory)
    memory.save()
    with get_client(sync_client=True) as client:
        _make_work_pool(client)
        if options.adopt:
            _let_unfinished_runs_go_on(client)


def _save_block(config: dict[str, str], memory: Remembered) -> None:
    from blocks import AzureCredentials, AzureMLWorkspace

    name = f"block azure-ml-workspace/{BLOCK}"
    AzureCredentials.register_type_and_schema()
    AzureMLWorkspace.register_type_and_schema()
    there: Any = None
    with contextlib.suppress(ValueError, RuntimeError):  # there is none, or one that an older version saved
        there = None if memory.reset else AzureMLWorkspace.load(BLOCK)
    if there is None:
        AzureMLWorkspace(**config).save(BLOCK, overwrite=True)
        print(f"made {name}")
    kept: dict[str, Any] = {}
    if there is not None:
        settled = memory.settle(name, config, {field: getattr(there, field) for field in config})
        kept = settled.kept
        if settled.wanted:
            there.model_copy(update=settled.wanted).save(BLOCK, overwrite=True)
        print(f"found {name}{f' ({settled.remark()})' if kept else ''}")
    memory.note(name, config, config, kept)


def _make_work_pool(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_work_pool(WORK_POOL)
        print(f"found work pool {WORK_POOL}")
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        print(f"made work pool {WORK_POOL}")


def _let_unfinished_runs_go_on(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import AwaitingRetry, Cancelled

    from flows.vital_signs import taken_by

    left = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [WORK_POOL]}})
    at_work = runs_of_flows()
    for run in client.read_flow_runs(flow_run_filter=left, work_pool_filter=pool):
        assert run.state is not None
        # Another worker of the pool, here or on another machine, may be at it.
        if str(run.id) in at_work or taken_by(client, run.id) not in (WORKER, None):
            continue
        if run.state.is_cancelling():
            client.set_flow_run_state(
                run.id, Cancelled(message="The stack was taken down while it was cancelled."), force=True
            )
            print(f"ended run {run.name}, which was being cancelled")
        else:
            client.set_flow_run_state(
                run.id, AwaitingRetry(message="The stack was taken down; the run goes on."), force=True
            )
            print(f"found run {run.name} goes on")


if __name__ == "__main__":
    main()
