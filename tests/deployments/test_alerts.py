"""Each alert, and the notice that a run is dead, by making it happen on the stack."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psutil
import pytest

from deployments.automate import AUTOMATIONS, read
from deployments.stack import azure
from deployments.stack.layout import ROOT
from tests.deployments.operated import SMALL, Operator, until
from tests.deployments.webhook import SAVE_BLOCK, Inbox, inbox
from tests.processes import alive_where

NOBODYS = "nobodys"
"""A work queue that no worker looks at, since it is paused."""
NOWHERE = {"workspace": "nowhere"}
LAST_NIGHT = "2020-01-01T02:00:00Z"


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
        assert "automation alert-failed (tells nobody yet: there is no notification block 'alerts')" in untold.stdout


def test_a_test_is_sent_and_said_to_have_arrived_only_if_it_has(operator: Operator, told: Inbox) -> None:
    sent = operator.run("deployments.automate", "--test")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "The test has arrived at custom-webhook/alerts" in sent.stdout
    assert len(told.about("finetune: a test")) == 1
    nobody = operator.run("deployments.automate", "--test", "--block", "nobody")
    assert nobody.returncode == 1
    assert "There is no notification block 'nobody'." in nobody.stderr
    command = [
        sys.executable,
        "-c",
        SAVE_BLOCK.replace('"alerts"', '"lost"'),
        f"{told.url.replace('http:', 'https:')}?key=hunter2",
    ]
    subprocess.run(command, env=operator.stack.environment(), check=True)
    lost = operator.run("deployments.automate", "--test", "--block", "lost")
    assert lost.returncode == 1
    assert "The test to custom-webhook/lost did not arrive: " in lost.stderr
    assert "hunter2" not in lost.stderr


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


def test_a_skipped_night_is_told_with_the_run_that_it_was_skipped_for(
    operator: Operator, told: Inbox, began: dict[str, str]
) -> None:
    until(lambda: state_of(operator, began["killed"])["type"] == "RUNNING", seconds=300)
    second = start(
        operator, "nightly", NOWHERE, state={"type": "SCHEDULED", "state_details": {"scheduled_time": LAST_NIGHT}}
    )
    until(lambda: bool(told.about("skipped a night", second)), seconds=300)
    assert state_of(operator, second)["name"] in ("Missed", "Skipped")
    third = start(operator, "nightly", NOWHERE)
    until(lambda: bool(told.about("skipped a night", third)), seconds=300)
    assert state_of(operator, third)["name"] == "Skipped"
    assert f"(flow run {began['killed']})" in state_of(operator, third)["message"]


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
    """The shipped automation, but for this run alone and after ten seconds twice: Prefect sends heartbeats no closer than 30 s."""
    run = start(operator, "manual", {**SMALL, "dataset": dataset}, work_queue_name=NOBODYS)
    [reaper] = operator.ask("/deployments/filter", {"deployments": {"name": {"any_": ["reaper"]}}})
    zombies = read(AUTOMATIONS / "crash-zombies.yaml", None, reaper=UUID(reaper["id"])).model_dump(mode="json")
    zombies["name"] = "crash-this-zombie"
    zombies["trigger"] |= {"match": {"prefect.resource.id": f"prefect.flow-run.{run}"}, "within": 10}
    zombies["actions"][0]["parameters"]["silent_seconds"] = 10
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


def test_a_night_that_does_not_take_place_is_told_without_any_run(operator: Operator, told: Inbox) -> None:
    """The shipped automation, but after ten seconds: nothing of this deployment ends in the test."""
    [block] = [made for made in operator.ask("/block_documents/filter") if made["name"] == "alerts"]
    wanted = read(AUTOMATIONS / "alert-no-night.yaml", UUID(block["id"])).model_dump(mode="json")
    wanted["trigger"]["within"] = 10
    made = operator.ask("/automations/", wanted | {"name": "alert-no-night-soon"})
    try:
        until(lambda: bool(told.about("No night of finetune/nightly has ended")), seconds=300)
    finally:
        operator.ask(f"/automations/{made['id']}", method="DELETE")


def test_every_alert_is_one_that_was_made_to_happen() -> None:
    happened = {"failed", "late", "skipped-night", "crashed", "rejected", "no-night"}
    assert {file.stem.removeprefix("alert-") for file in AUTOMATIONS.glob("alert-*.yaml")} == happened
