"""Whatever a client sends gets an answer in the 400s: never a 5xx, never a hang."""

from __future__ import annotations

import contextlib
import json

import pytest
import requests

from tests.emulated import Emulator

ARM = "https://management.azure.com"
DEEP = "[" * 100_000 + "]" * 100_000
BODIES = {
    "not json": b"{",
    "deep json": f'{{"properties": {DEEP}}}'.encode(),
    "an array": b"[1, 2]",
    "a string": b'"x"',
    "null": b"null",
    "properties is a list": b'{"properties": []}',
    "properties is a number": b'{"properties": 7}',
    "properties is null": b'{"properties": null}',
    "odd encoding": '{"properties": "é"}'.encode("utf-16"),
    "broken utf-8": b'{"properties": "\xff\xfe"}',
    "lone surrogate": b'{"properties": {"description": "\\ud800", "modelUri": 5}}',
    "nul": b'{"properties": {"modelUri": "\\u0000"}}',
    "huge number": b'{"properties": ' + b"9" * 5000 + b"}",
    "too large": b'{"x": "' + b"a" * (5 * 1024 * 1024) + b'"}',
}
RESOURCES = [
    "computes/c1",
    "models/m/versions/1",
    "data/d/versions/1",
    "components/c/versions/1",
    "environments/e/versions/1",
    "jobs/j1",
    "datastores/d1",
    "onlineEndpoints/endpoint-one",
    "onlineEndpoints/endpoint-one/deployments/blue",
]


@pytest.fixture(scope="module")
def headers(emulator: Emulator) -> dict[str, str]:
    token = emulator.credential().get_token(f"{ARM}/.default").token
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_bad_body_is_refused(emulator: Emulator, headers: dict[str, str], resource: str) -> None:
    url = f"{ARM}{emulator.installation.workspace_id}/{resource}?api-version=2024-10-01"
    for what, body in BODIES.items():
        answer = requests.put(url, data=body, headers=headers, timeout=20)
        assert 400 <= answer.status_code < 500, f"{resource}, {what}: {answer.status_code} {answer.text[:300]}"
        assert answer.json()["error"]["code"], what


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/..%2f..%2fetc/passwd",
        "/subscriptions/%ff%fe",
        "/subscriptions//resourceGroups//",
        "/" + "a" * 20_000,
        "/subscriptions/{sub}/providers/Microsoft.MachineLearningServices/locations/eastus/mfeOperationsStatus/%00",
        "/{workspace}/computes/%00",
        "/{workspace}/models/..%2f..%2f/versions/1",
        "/{workspace}/models/x/versions?$top=99999999999999999999&$skip=-1",
        "/{workspace}/jobs?$skip=%F0%9F%98%80",
        "/{workspace}/nothing/here",
    ],
)
def test_an_odd_path_is_refused(emulator: Emulator, headers: dict[str, str], path: str) -> None:
    here = emulator.installation
    filled = path.replace("{sub}", here.subscription_id).replace("/{workspace}", here.workspace_id)
    joined = "&" if "?" in filled else "?"
    answer = requests.get(f"{ARM}{filled}{joined}api-version=2024-10-01", headers=headers, timeout=20)
    assert answer.status_code < 500, answer.text[:300]
    assert answer.status_code >= 400 or "$skip" in path


def test_huge_headers_are_refused(emulator: Emulator, headers: dict[str, str]) -> None:
    url = f"{ARM}{emulator.installation.workspace_id}?api-version=1"
    with contextlib.suppress(requests.ConnectionError):  # refused, and closed before all of it was sent
        assert 400 <= requests.get(url, headers={**headers, "X-Long": "a" * 200_000}, timeout=20).status_code < 500
    assert requests.get(url, headers=headers, timeout=20).status_code == 200


def test_a_signed_operation_address_of_eight_kilobytes_is_accepted(emulator: Emulator, headers: dict[str, str]) -> None:
    url = f"{ARM}{emulator.installation.workspace_id}?api-version=1&s={'a' * 8000}"
    assert requests.get(url, headers=headers, timeout=20).status_code == 200


def test_a_call_without_api_version_gets_azures_answer(emulator: Emulator, headers: dict[str, str]) -> None:
    answer = requests.get(f"{ARM}{emulator.installation.workspace_id}", headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MissingApiVersionParameter")


def test_a_wrong_method_and_an_unknown_host_are_refused(emulator: Emulator, headers: dict[str, str]) -> None:
    url = f"{ARM}{emulator.installation.workspace_id}/computes?api-version=1"
    assert requests.delete(url, headers=headers, timeout=20).status_code == 405
    answer = requests.get(f"{ARM}/x?api-version=1", headers={**headers, "Host": "evil.example"}, timeout=20)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NotEmulated")


def test_another_subscription_group_or_workspace_is_not_found(emulator: Emulator, headers: dict[str, str]) -> None:
    here = emulator.installation
    wrong = {
        here.workspace_id.replace(here.subscription_id, "0" * 8): "SubscriptionNotFound",
        here.workspace_id.replace(here.resource_group, "other"): "ResourceGroupNotFound",
        here.workspace_id.replace(here.workspace, "other"): "ResourceNotFound",
    }
    for path, code in wrong.items():
        answer = requests.get(f"{ARM}{path}?api-version=1", headers=headers, timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    shouted = here.workspace_id.upper()
    assert (
        json.loads(requests.get(f"{ARM}{shouted}?api-version=1", headers=headers, timeout=20).text)["id"]
        == here.workspace_id
    )
