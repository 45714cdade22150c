"""Over HTTP, each kind of resource is made under the names and versions that Azure takes, at their edges, and under no other."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from emulator.blob import sas
from emulator.names import NAMES, VERSIONS
from tests.emulated import Emulator, pointed_at, running_emulator
from tests.emulator.jobs.commands import ENVIRONMENT, wait
from tests.emulator.test_assets import CONTENTS

LINE = {"jobType": "Command", "command": "true", "environmentId": ENVIRONMENT}
ASSET = ("a", "7", "A-b_9-", "a" * 255), ("a.b", "-a", "_a", "a b", "a/b", "a:b", "é", "a\n", "a" * 256)
SERVED = (
    ("abc", "A-9", "a-b-c", "a" * 32),
    ("ab", "1bc", "abc-", "-abc", "a_b", "a.b", "a--b", "a b", "é" * 3, "a" * 33),
)
WORD_VERSIONS = ("1", "_1", "1.0.0-rc_1"), ("-1", ".1", "1 0", "é")
# What is taken, and what is refused.
EDGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(("models", "data", "environments", "components", "codes", "jobs"), ASSET),
    "experiments": (("a", "7", "A-b_9-", "a" * 256), ("a.b", "-a", "_a", "a b", "a/b", "é", "", "a" * 257)),
    "computes": (
        ("abc", "a12", "gpu-a100", "A-1b2", "a" * 24),
        ("ab", "1bc", "-ab", "a_b", "a.b", "abé", "gpu-1", "a-b-12", "gpu-", "a" * 25),
    ),
    "onlineEndpoints": SERVED,
    "deployments": SERVED,
    "datastores": (("a", "7", "A_b", "a" * 255), ("a-b", "a.b", "_a", "a b", "é", "a" * 256)),
}
CONTAINERS = ("abc", "a-1", "7" * 63), ("ab", "Abc", "-abc", "abc-", "a--b", "a_b", "a.b", "a" * 64)
VERSION_EDGES = {
    "models": (("1", "2147483647"), ("0", "-1", "2147483648", "1.0.0", "v1", "1_0", "١")),
    "data": ((*WORD_VERSIONS[0], "1" * 30), (*WORD_VERSIONS[1], "1" * 31)),
    **dict.fromkeys(
        ("environments", "components", "codes"), ((*WORD_VERSIONS[0], "1" * 100), (*WORD_VERSIONS[1], "1" * 101))
    ),
}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One of this module's own, which it fills with odd names."""
    with running_emulator(tmp_path_factory.mktemp("names") / "state") as emulator, pointed_at(emulator):
        yield emulator


@pytest.fixture(scope="module")
def session(emulator: Emulator) -> requests.Session:
    """Who calls without the SDK, which would refuse some names itself."""
    session, credential = requests.Session(), emulator.credential()
    session.headers["Authorization"] = f"Bearer {credential.get_token('https://management.azure.com/.default').token}"
    session.headers["x-azureml-token"] = credential.get_token("https://ml.azure.com/.default").token
    return session


@pytest.fixture(scope="module")
def endpoint(emulator: Emulator, session: requests.Session) -> str:
    """What deployments are made of: it needs no process."""
    assert put(emulator, session, "onlineEndpoints", "of-names").status_code == 201
    return "of-names"


def put(emulator: Emulator, session: requests.Session, kind: str, name: str, version: str = "1") -> requests.Response:
    """The PUT that makes one of `kind`."""
    quoted, here = quote(name, safe=""), emulator.installation
    path = f"{kind}/{quoted}"
    body: dict[str, Any] = {"properties": CONTENTS.get(kind, {})}
    if kind in CONTENTS:
        path += f"/versions/{quote(version, safe='')}"
    elif kind == "jobs":
        body = {"properties": LINE}
    elif kind == "experiments":
        path, body = f"jobs/{uuid.uuid4()}", {"properties": {**LINE, "experimentName": name}}
    elif kind == "computes":
        nodes = {"minNodeCount": 0, "maxNodeCount": 1}
        properties = {"vmSize": "Standard_DS3_v2", "scaleSettings": nodes}
        body = {"properties": {"computeType": "AmlCompute", "properties": properties}}
    elif kind == "onlineEndpoints":
        body = {"location": here.region, "properties": {"authMode": "Key"}}
    elif kind == "deployments":
        path = f"onlineEndpoints/of-names/{path}"
        body = {"properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2"}}
    elif kind == "datastores":
        properties = {"datastoreType": "AzureBlob", "accountName": here.storage_account, "containerName": "azureml"}
        body = {"properties": {**properties, "credentials": {"credentialsType": "None"}}}
    url = f"https://management.azure.com{here.workspace_id}/{path}?api-version=2024-01-01-preview"
    return session.put(url, json=body, timeout=30)


def said(answer: requests.Response) -> str:
    """The sentence of a refusal, in Azure ML's own form."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) in ((400, "UserError"), (400, "BadRequest")), error
    return " ".join([error["message"], *(detail["message"] for detail in error["details"])])


def test_every_rule_has_its_source_and_is_tried() -> None:
    assert all(rule.source for rule in (*NAMES.values(), *VERSIONS.values()))
    made_by_no_request = {"workspaces", "registries", "registries/models", "containers"}
    assert set(NAMES) == set(EDGES) | made_by_no_request
    assert set(VERSIONS) == set(VERSION_EDGES)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (legal, _) in EDGES.items() for name in legal])
def test_a_legal_name_is_taken(emulator: Emulator, session: requests.Session, kind: str, name: str) -> None:
    answer = put(emulator, session, kind, name)
    if kind == "deployments":  # one that served would be a process each
        assert "A deployment needs a model" in said(answer)
    else:
        assert answer.status_code in (200, 201), answer.text


@pytest.mark.parametrize("name", [*CONTAINERS[0], *CONTAINERS[1]])
def test_a_container_is_made_under_a_legal_name_only(emulator: Emulator, name: str) -> None:
    here = emulator.installation
    url = f"https://{here.blob_host}/{name}?restype=container&{sas.account_sas(here, permissions='rcw')}"
    answer = requests.put(url, headers={"x-ms-version": "2023-11-03"}, timeout=30)
    if name in CONTAINERS[0]:
        assert answer.status_code == 201
    else:
        assert answer.status_code == 400 and NAMES["containers"].words in answer.text


def test_a_job_of_the_longest_name_runs(emulator: Emulator, session: requests.Session) -> None:
    assert put(emulator, session, "jobs", "z" * 255).status_code == 201
    assert wait(emulator.client(), "z" * 255) == "Completed"


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, (_, illegal) in EDGES.items() for name in illegal])
def test_any_other_name_is_refused_in_azures_own_form(
    emulator: Emulator, session: requests.Session, kind: str, name: str
) -> None:
    answer = put(emulator, session, kind, name)
    if "/" in name and kind != "experiments":  # it is another path
        assert answer.status_code in (400, 404)
        return
    assert NAMES[kind].words in said(answer)


def test_a_refusal_has_no_more_of_a_name_than_can_be_read() -> None:
    rule = NAMES["jobs"]
    assert rule.refusal("a" * 300) == f"Job name '{'a' * 64}' is invalid: it must {rule.words}."


@pytest.mark.parametrize(
    ("kind", "version"), [(kind, version) for kind, (legal, _) in VERSION_EDGES.items() for version in legal]
)
def test_a_legal_version_is_taken(emulator: Emulator, session: requests.Session, kind: str, version: str) -> None:
    assert put(emulator, session, kind, "of-versions", version).status_code in (200, 201)


@pytest.mark.parametrize(
    ("kind", "version"), [(kind, version) for kind, (_, illegal) in VERSION_EDGES.items() for version in illegal]
)
def test_any_other_version_is_refused(emulator: Emulator, session: requests.Session, kind: str, version: str) -> None:
    assert VERSIONS[kind].words in said(put(emulator, session, kind, "of-versions", version))
