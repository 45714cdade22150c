"""`prefect.yaml` and the automations, read as Prefect reads them: what they name is there, and what they pass is taken."""

from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint

from deployments.automate import AUTOMATIONS, read
from deployments.stack.layout import HEARTBEAT_SECONDS, ROOT, WORK_POOL
from flows.finetune import finetune
from flows.reap import reap

PROJECT = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in PROJECT["deployments"]}
AUTOMATION_FILES = sorted(AUTOMATIONS.glob("*.yaml"))


def flow_of(name: str) -> Flow[..., Any]:
    return load_flow_from_entrypoint(str(ROOT / DEPLOYMENTS[name]["entrypoint"]), use_placeholder_flow=False)


@pytest.mark.parametrize(("name", "flow"), [("nightly", finetune), ("manual", finetune), ("reaper", reap)])
def test_each_deployment_is_of_a_flow_of_the_checkout(name: str, flow: Flow[..., Any]) -> None:
    assert flow_of(name).name == flow.name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_parameter_is_one_that_the_flow_takes(name: str) -> None:
    entry, flow = DEPLOYMENTS[name], flow_of(name)
    flow.validate_parameters(entry["parameters"])
    given = [entry["parameters"], *(schedule.get("parameters", {}) for schedule in entry.get("schedules", []))]
    given += [trigger.get("parameters", {}) for trigger in entry.get("triggers", [])]
    for parameters in given:
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


def test_a_night_that_still_runs_is_not_joined_by_the_next() -> None:
    assert DEPLOYMENTS["nightly"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_the_reaper_hears_of_every_bad_end_of_the_flow() -> None:
    [trigger] = DEPLOYMENTS["reaper"]["triggers"]
    assert set(trigger["expect"]) == {f"prefect.flow-run.{name}" for name in ("Crashed", "Cancelled", "Failed")}
    assert trigger["match_related"]["prefect.resource.name"] == finetune.name


@pytest.mark.parametrize("file", AUTOMATION_FILES, ids=lambda file: file.stem)
def test_each_automation_is_one_and_is_named_as_its_file(file: Any) -> None:
    assert read(file, recipient=uuid4()).name == file.stem


def test_a_run_is_given_up_after_three_missed_heartbeats() -> None:
    zombies = yaml.safe_load((AUTOMATIONS / "crash-zombies.yaml").read_text("utf-8"))
    assert zombies["trigger"]["within"] == 3 * HEARTBEAT_SECONDS


def test_the_small_run_of_the_guide_is_valid() -> None:
    finetune.validate_parameters(yaml.safe_load((ROOT / "deployments" / "small.json").read_text("utf-8")))
