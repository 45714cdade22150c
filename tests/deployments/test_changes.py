"""`up` leaves what a person has changed in the UI or by the API, says so field by field, and undoes it only when told to."""

from __future__ import annotations

from typing import Any

from deployments.stack.deploying import _put
from tests.deployments.operated import Operator


def automations(operator: Operator) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operator.ask("/automations/filter")}


def nightly(operator: Operator) -> dict[str, Any]:
    [found] = operator.ask("/deployments/filter", {"deployments": {"name": {"any_": ["nightly"]}}})
    return dict(found)


def block(operator: Operator) -> dict[str, Any]:
    [found] = [each for each in operator.ask("/block_documents/filter") if each["name"] == "azureml"]
    return dict(found)


def up(operator: Operator, *options: str) -> str:
    done = operator.command("up", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_up_never_undoes_what_a_person_changed(operator: Operator) -> None:
    its, path = nightly(operator), f"/deployments/{nightly(operator)['id']}"
    [schedule] = its["schedules"]
    hour = {**schedule["schedule"], "cron": "30 4 * * *"}
    operator.ask(f"{path}/schedules/{schedule['id']}", {"schedule": hour, "active": False}, "PATCH")
    parameters = {**its["parameters"], "gate": {"max_eval_loss": 1.5}, "pipeline": {"max_attempts": 2}}
    operator.ask(path, {"parameters": parameters, "paused": True, "concurrency_limit": 3}, "PATCH")
    late, zombies = automations(operator)["alert-late"], automations(operator)["crash-zombies"]
    operator.ask(f"/automations/{late['id']}", {"enabled": False}, "PATCH")
    trigger = {**zombies["trigger"], "within": 301}
    changed = {key: zombies[key] for key in ("name", "description", "enabled", "actions")} | {"trigger": trigger}
    operator.ask(f"/automations/{zombies['id']}", changed, "PUT")
    operator.ask(f"/automations/{automations(operator)['alert-rejected']['id']}", method="DELETE")
    registry = {"data": {"registry_name": "ours"}, "merge_existing_data": True}
    operator.ask(f"/block_documents/{block(operator)['id']}", registry, "PATCH")

    for _ in range(2):
        said = up(operator)
        now = nightly(operator)
        assert [(each["schedule"]["cron"], each["active"]) for each in now["schedules"]] == [("30 4 * * *", False)]
        assert now["parameters"] == parameters
        assert (now["paused"], now["global_concurrency_limit"]["limit"]) == (True, 3)
        found = automations(operator)
        assert not found["alert-late"]["enabled"]
        assert found["crash-zombies"]["trigger"]["within"] == 301
        assert "alert-rejected" not in found
        assert block(operator)["data"]["registry_name"] == "ours"
        for told in (
            "schedules stays as it was changed: ",
            'parameters.gate stays as it was changed: {"max_eval_loss": 1.5}',
            "paused stays as it was changed: true",
            "concurrency_limit stays as it was changed: 3",
            "alert-late: enabled stays as it was changed: false",
            "crash-zombies: trigger stays as it was changed: ",
            "alert-rejected: was deleted, and stays so",
        ):
            assert told in said

    up(operator, "--reset")
    now, found = nightly(operator), automations(operator)
    assert [(each["schedule"]["cron"], each["active"]) for each in now["schedules"]] == [("0 2 * * *", True)]
    assert now["parameters"] == its["parameters"]
    assert (now["paused"], now["global_concurrency_limit"]) == (False, None)
    assert found["alert-late"]["enabled"]
    assert found["crash-zombies"]["trigger"]["within"] == 300
    assert "alert-rejected" in found
    assert block(operator)["data"]["registry_name"] == "azureml"
    assert "stays as it was changed" not in up(operator)


def test_what_is_there_is_found_and_counts_on(operator: Operator) -> None:
    """An automation that is written again forgets the heartbeats that it has seen."""
    before = automations(operator)
    said = up(operator)
    assert automations(operator) == before
    assert "found      work pool local" in said
    assert "found      block azure-ml-workspace/azureml" in said
    assert "made " not in said


def test_what_a_person_changed_is_what_is_deployed() -> None:
    entry: dict[str, Any] = {"parameters": {"gate": {}, "model": {}}, "paused": False, "concurrency_limit": 1}
    kept = {
        "parameters.gate": {"max_eval_loss": 1.5},
        "parameters.model": None,
        "paused": True,
        "concurrency_limit": "none",
    }
    for field, value in kept.items():
        _put(entry, field, value)
    assert entry == {"parameters": {"gate": {"max_eval_loss": 1.5}}, "paused": True}
