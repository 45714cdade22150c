"""What can't run is refused when it is submitted, with a reason; and nothing that a client sends breaks the service."""

import json
from typing import Any

import pytest
import requests

from tests.emulated import Emulator

ARM = "https://management.azure.com"


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def put(emulator: Emulator, name: str, properties: Any, **headers: str) -> requests.Response:
    """The PUT of a job as any HTTP client can send it."""
    credential = emulator.credential()
    sent = {
        "Authorization": f"Bearer {credential.get_token(f'{ARM}/.default').token}",
        "x-azureml-token": credential.get_token("https://ml.azure.com/.default").token,
        "Content-Type": "application/json",
        **headers,
    }
    url = f"{ARM}{emulator.installation.workspace_id}/jobs/{name}?api-version=2024-01-01-preview"
    return requests.put(url, data=json.dumps({"properties": properties}), headers=sent, timeout=30)


def step(**node: Any) -> dict[str, Any]:
    """A pipeline of one inline command node, with members replaced."""
    return {"jobType": "Pipeline", "jobs": {"a": {"type": "command", "command": "true", **node}}}


INLINE = {
    "type": "command",
    "command": "true",
    "inputs": {"x": {"type": "string"}},
    "outputs": {"y": {"type": "uri_folder"}},
}

HOSTILE = {
    "no type": {},
    "unknown type": {"jobType": "Spark"},
    "no jobs": {"jobType": "Pipeline"},
    "jobs is a list": {"jobType": "Pipeline", "jobs": []},
    "job is a string": {"jobType": "Pipeline", "jobs": {"a": "b"}},
    "node of unknown type": step(type="sweep"),
    "node type is a list": step(type=[1]),
    "node without component": {"jobType": "Pipeline", "jobs": {"a": {"type": "command"}}},
    "component id is a number": step(componentId=7),
    "component is not there": step(componentId="azureml://registries/azureml/components/none/versions/1"),
    "component inputs is a list": step(inputs=[1]),
    "input is a list": step(component=INLINE, inputs={"x": [1]}),
    "input value is an object": step(component=INLINE, inputs={"x": {"job_input_type": "literal", "value": {}}}),
    "missing input": step(component=INLINE),
    "unknown input": step(component=INLINE, inputs={"x": "1", "z": "2"}),
    "input refers nowhere": step(component=INLINE, inputs={"x": "${{parent.inputs.none}}"}),
    "waits for itself": step(component=INLINE, inputs={"x": "${{parent.jobs.a.outputs.y}}"}),
    "environment variables are a list": step(environment_variables=[1]),
    "resources are a list": step(resources=[1]),
    "settings are nested": {**step(), "settings": {"default_compute": nested(50)}},
    "deep": {**step(), "inputs": {"x": {"jobInputType": "literal", "value": nested(900)}}},
    "tags are nested": {**step(), "tags": {"a": {}}},
    "command without command": {"jobType": "Command"},
    "command with odd node count": {"jobType": "Command", "command": "true", "resources": {"instanceCount": "9" * 50}},
    "command on no cluster": {"jobType": "Command", "command": "true", "computeId": "none"},
    "display name is a number": {"jobType": "Command", "command": "true", "displayName": 5},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_job_that_cannot_run_is_refused(emulator: Emulator, what: str) -> None:
    answer = put(emulator, "refused", HOSTILE[what])
    assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text[:300]}"
    error = answer.json()["error"]
    assert error["code"] and error["message"]


def test_a_member_that_nobody_knows_is_kept_unless_it_is_too_deep_to_be_read_again(emulator: Emulator) -> None:
    assert put(emulator, "unknown-member", {**step(), "surprise": nested(20)}).status_code == 201
    refused = put(emulator, "deep-member", {**step(), "surprise": nested(900)})
    assert refused.status_code == 400
    assert "MaxDepth" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["a%2fb", "..", "a b", "é", "x" * 300, "-dash", "a%00b"])
def test_a_job_name_that_could_leave_its_folder_is_refused(emulator: Emulator, name: str) -> None:
    answer = put(emulator, name, {"jobType": "Command", "command": "true"})
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("token", ["", "no.such.token"])
def test_a_pipeline_without_the_submitters_azure_ml_token_is_refused(emulator: Emulator, token: str) -> None:
    answer = put(emulator, "no-token", step(), **{"x-azureml-token": token})
    assert answer.status_code == 401
    assert "x-azureml-token" in answer.json()["error"]["message"]


def test_a_token_for_azure_resource_manager_is_no_azure_ml_token(emulator: Emulator) -> None:
    token = emulator.credential().get_token(f"{ARM}/.default").token
    assert put(emulator, "wrong-token", step(), **{"x-azureml-token": token}).status_code == 401


def test_a_reader_cannot_submit_or_cancel(emulator: Emulator) -> None:
    from azure.core.exceptions import HttpResponseError

    from tests.emulator.jobs.commands import line

    client = emulator.client("reader")
    for act in (lambda: client.jobs.create_or_update(line("true")), lambda: client.jobs.begin_cancel("any")):
        with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
            act()


def test_a_name_with_control_characters_does_not_stop_a_job(emulator: Emulator) -> None:
    from tests.emulator.jobs.commands import ENVIRONMENT, wait

    job = {"jobType": "Command", "command": "true", "environmentId": ENVIRONMENT, "displayName": "\u0000 \n \u202e"}
    assert put(emulator, "odd-text", job).status_code == 201
    assert wait(emulator.client(), "odd-text") == "Completed"


def test_half_a_character_is_refused(emulator: Emulator) -> None:
    assert put(emulator, "half", {**step(), "displayName": "\ud800"}).status_code == 400
    assert put(emulator, "half", {**step(), "tags": {"\ud800": "x"}}).status_code == 400


@pytest.mark.parametrize(
    "path", ["runs/none", "runs/none/details", "runs/none/children", "experiments/e/runs/none/artifacts"]
)
def test_run_history_of_a_run_that_is_not_there_is_not_found(emulator: Emulator, path: str) -> None:
    here = emulator.installation
    url = f"https://{here.data_host}/history/v1.0{here.workspace_id}/{path}"
    assert requests.get(url, timeout=30).status_code == 401
    token = emulator.credential().get_token(f"{ARM}/.default").token
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 404
    assert answer.json()["error"]["innerError"]["code"] == "NotFoundError"
