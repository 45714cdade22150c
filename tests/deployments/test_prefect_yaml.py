"""`prefect.yaml` and the automations, read as Prefect reads them: what they name is there, and what they pass is taken."""

from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint

from deployments.automate import AUTOMATIONS, REAPER, read
from deployments.stack.layout import ROOT, WORK_POOL
from flows.finetune import finetune
from flows.reap import reap
from flows.turns import ONE_AT_A_TIME

PROJECT = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in PROJECT["deployments"]}
AUTOMATION_FILES = sorted(AUTOMATIONS.glob("*.yaml"))


def automation(name: str) -> dict[str, Any]:
    wanted: dict[str, Any] = yaml.safe_load((AUTOMATIONS / f"{name}.yaml").read_text("utf-8"))
    return wanted


def flow_of(name: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"], use_placeholder_flow=False)


@pytest.mark.parametrize(("name", "flow"), [("nightly", finetune), ("manual", finetune), ("reaper", reap)])
def test_each_deployment_is_of_a_flow_of_the_checkout(name: str, flow: Flow[..., Any]) -> None:
    assert flow_of(name).name == flow.name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_parameter_is_one_that_the_flow_takes(name: str) -> None:
    entry, flow = DEPLOYMENTS[name], flow_of(name)
    flow.validate_parameters(entry["parameters"])
    for parameters in [
        entry["parameters"],
        *(schedule.get("parameters", {}) for schedule in entry.get("schedules", [])),
    ]:
        assert parameters.keys() <= flow.parameters.properties.keys()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_deployment_refuses_wrong_parameters_and_runs_where_the_stack_works(name: str) -> None:
    assert DEPLOYMENTS[name]["enforce_parameter_schema"] is True
    assert DEPLOYMENTS[name]["work_pool"]["name"] == WORK_POOL
    # The build step `block` names it; tests/scale deploys and reads what became of it.
    assert DEPLOYMENTS[name]["parameters"]["workspace"] == "{{ block.stdout }}"


@pytest.mark.parametrize("name", ["nightly", "reaper"])
def test_each_schedule_is_a_cron_in_a_named_time_zone(name: str) -> None:
    for schedule in DEPLOYMENTS[name]["schedules"]:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert ZoneInfo(schedule["timezone"]).key == schedule["timezone"]


def test_nights_are_one_at_a_time_by_the_flows_own_rule() -> None:
    assert ONE_AT_A_TIME in DEPLOYMENTS["nightly"]["tags"]
    assert ONE_AT_A_TIME not in DEPLOYMENTS["manual"]["tags"]
    # Prefect's own limit would cancel a night that only wants to go on, and end the one that runs when it is away for minutes.
    assert "concurrency_limit" not in DEPLOYMENTS["nightly"]


def test_the_reaper_hears_of_every_bad_end_of_the_flow() -> None:
    trigger = automation("reap-after-a-bad-end")["trigger"]
    assert set(trigger["expect"]) == {f"prefect.flow-run.{name}" for name in ("Crashed", "Cancelled", "Failed")}
    assert trigger["match_related"]["prefect.resource.name"] == finetune.name


@pytest.mark.parametrize("file", AUTOMATION_FILES, ids=lambda file: file.stem)
def test_what_an_automation_runs_is_there_and_takes_what_it_passes(file: Path) -> None:
    for action in automation(file.stem)["actions"]:
        if action["type"] == "run-deployment":
            assert action["deployment"] == REAPER
            assert action["parameters"].keys() <= reap.parameters.properties.keys()


@pytest.mark.parametrize("file", AUTOMATION_FILES, ids=lambda file: file.stem)
def test_an_alert_goes_to_the_block_and_a_call_to_the_reaper(file: Path) -> None:
    block, reaper = uuid4(), uuid4()
    alert = file.stem.startswith("alert-")
    [action] = read(file, block if alert else None, None if alert else reaper).model_dump()["actions"]
    assert action["block_document_id" if alert else "deployment_id"] == (block if alert else reaper)
    [nothing] = read(file, None if alert else block, reaper if alert else None).model_dump()["actions"]
    assert nothing["type"] == "do-nothing"


@pytest.mark.parametrize("file", AUTOMATION_FILES, ids=lambda file: file.stem)
def test_each_automation_is_one_and_is_named_as_its_file(file: Any) -> None:
    assert read(file, recipient=uuid4(), reaper=uuid4()).name == file.stem


def test_a_run_is_given_up_after_three_missed_heartbeats() -> None:
    zombies = automation("crash-zombies")
    [asks] = zombies["actions"]
    patience = zombies["trigger"]["within"] + asks["parameters"]["silent_seconds"]
    for file in ("prefect.yaml", "deployments/containers.yaml"):
        project = yaml.safe_load((ROOT / file).read_text("utf-8"))
        for entry in project["deployments"]:
            heartbeat = int(entry["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
            assert patience == 3 * heartbeat
            # One that lives has been asked for long enough to send one.
            assert asks["parameters"]["silent_seconds"] > heartbeat


def test_the_small_run_of_the_guide_is_valid() -> None:
    finetune.validate_parameters(yaml.safe_load((ROOT / "deployments" / "small.json").read_text("utf-8")))
