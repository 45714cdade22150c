"""Each alert, and the notice that a run is dead, by making it happen on the stack."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psutil
import pytest

from deployments.automate import AUTOMATIONS, read
from deployments.stack import azure
from deployments.stack.layout import ROOT
from tests.deployments.operated import SMALL, Operator, until
from tests.deployments.webhook import Inbox, inbox
from tests.processes import alive_where

NOBODYS = "nobodys"
"""A work queue that no worker looks at, since it is paused."""
NOWHERE = {"workspace": "nowhere"}
SAVE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
sent = {"subject": "{{subject}}", "body": "{{body}}"}
Webhook(name="alerts", url=sys.argv[1], json_data=sent).save("alerts", overwrite=True)
"""


@pytest.fixture(scope="module")
def told(operator: Operator) -> Iterator[Inbox]:
    """Where the stack's alerts arrive: somebody has made the block `alerts` and said so."""
    with inbox() as here:
        subprocess.run([sys.executable, "-c", SAVE_BLOCK, here.url], env=operator.stack.environment(), check=True)
        told = operator.run("deployments.automate")
        assert told.returncode == 0, told.stderr
        assert "automation alert-failed\n" in told.stdout
        yield here
        [block] = [made for made in operator.ask("/block_documents/filter") if made["name"] == "alerts"]
        operator.ask(f"/block_documents/{block['id']}", method="DELETE")
        untold = operator.run("deployments.automate")
        assert "automation alert-failed (tells nobody: there is no notification block 'alerts')" in untold.stdout


@pytest.fixture(scope="module")
def began(operator: Operator, told: Inbox, dataset: dict[str, Any]) -> dict[str, str]:
    """The runs that the tests tell of, by what becomes of them; all at once, since each takes its time."""
    operator.ask("/work_pools/local/queues", {"name": NOBODYS, "is_paused": True})
    small = {**SMALL, "dataset": dataset, "deployment": {"enabled": False}}
    bad = {**small, "gate": {"max_eval_loss": 0.000001}}
    return {
        "late": start(operator, "manual", NOWHERE, work_queue_name=NOBODYS),
        "failed": start(operator, "manual", NOWHERE),
        "killed": start(operator, "nightly", {**small, "training": {"max_steps": 10_000}}),
        "rejected": start(operator, "manual", bad),
    }


def start(operator: Operator, deployment: str, parameters: dict[str, Any], **more: Any) -> str:
    """Makes a run of one of finetune's deployments; returns its id."""
    [found] = operator.ask("/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}})
    run = operator.ask(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters, **more})
    return str(run["id"])


def state_of(operator: Operator, run: str) -> dict[str, Any]:
    return operator.ask(f"/flow_runs/{run}", method="GET")["state"]


def processes_of(run: str) -> list[psutil.Process]:
    """The processes that run it."""
    return alive_where(lambda process: process.environ().get("PREFECT__FLOW_RUN_ID") == run)


def test_a_failed_run_is_told_with_its_reason(operator: Operator, told: Inbox, began: dict[str, str]) -> None:
    until(lambda: bool(told.about("failed", began["failed"])), seconds=300)
    [body] = told.about("failed", began["failed"])
    assert "There is no AzureMLWorkspace block 'nowhere'" in body
    assert f"{operator.stack.url}/runs/flow-run/{began['failed']}" in body


def test_a_late_run_is_told(told: Inbox, began: dict[str, str]) -> None:
    until(lambda: bool(told.about("is late", "Is a worker running", began["late"])), seconds=300)


def test_a_skipped_night_is_told(operator: Operator, told: Inbox, began: dict[str, str]) -> None:
    until(lambda: state_of(operator, began["killed"])["type"] == "RUNNING", seconds=300)
    second = start(operator, "nightly", NOWHERE)
    until(lambda: bool(told.about("skipped a night", second)), seconds=300)
    assert state_of(operator, second)["message"] == "Deployment concurrency limit reached."


def test_a_crashed_run_is_told(operator: Operator, told: Inbox, began: dict[str, str]) -> None:
    run = began["killed"]
    until(lambda: state_of(operator, run)["type"] == "RUNNING", seconds=300)
    for process in processes_of(run):
        process.send_signal(signal.SIGKILL)
    until(lambda: bool(told.about("crashed", run)), seconds=300)


def test_a_rejected_model_is_told_with_the_bound(told: Inbox, began: dict[str, str]) -> None:
    until(lambda: bool(told.about("rejected its model", began["rejected"])), seconds=600)
    [body] = told.about("rejected its model", began["rejected"])
    assert "is above the bound 1e-06. Nothing was registered or deployed." in body


def test_a_run_whose_machine_is_gone_is_noticed_and_told(
    operator: Operator, told: Inbox, dataset: dict[str, Any]
) -> None:
    """The shipped automation, but for this run alone and after ten seconds: Prefect sends heartbeats no closer than 30 s."""
    run = start(operator, "manual", {**SMALL, "dataset": dataset}, work_queue_name=NOBODYS)
    zombies = read(AUTOMATIONS / "crash-zombies.yaml", recipient=uuid4()).model_dump(mode="json")
    zombies["name"] = "crash-this-zombie"
    zombies["trigger"] |= {"match": {"prefect.resource.id": f"prefect.flow-run.{run}"}, "within": 10}
    made = operator.ask("/automations/", zombies)
    try:
        # No worker started it, as if worker and machine were gone with it.
        env = operator.stack.worker_environment(azure.environment(operator.stack))
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", run]
        log = operator.stack.home / "zombie.log"
        with log.open("wb") as out:
            alone = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=out, start_new_session=True
            )
        heartbeats = {
            "filter": {
                "event": {"name": ["prefect.flow-run.heartbeat"]},
                "resource": {"id": [f"prefect.flow-run.{run}"]},
            }
        }
        until(lambda: operator.ask("/events/filter", heartbeats)["total"] > 0, seconds=300)
        family = [psutil.Process(alone.pid), *psutil.Process(alone.pid).children(recursive=True)]
        # Frozen first, and so killed at one stroke: none of them can tell of another's death.
        for process in family:
            process.suspend()
        for process in family:
            process.kill()
        alone.wait()
        until(lambda: state_of(operator, run)["type"] == "CRASHED", seconds=300)
        assert "No heartbeat" in state_of(operator, run)["message"]
        until(lambda: bool(told.about("crashed", "No heartbeat", run)), seconds=300)
    finally:
        operator.ask(f"/automations/{made['id']}", method="DELETE")


def test_every_alert_is_one_that_was_made_to_happen() -> None:
    happened = {"failed", "late", "skipped-night", "crashed", "rejected"}
    assert {file.stem.removeprefix("alert-") for file in AUTOMATIONS.glob("alert-*.yaml")} == happened
