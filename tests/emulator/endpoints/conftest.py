"""Endpoints and deployments of the session's emulator, made with the real SDK around a small scoring script."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from tests.emulated import Emulator
from tests.processes import alive_where

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import ManagedOnlineDeployment, Model

SCRIPT = Path(__file__).parent / "script"
SIZE = "Standard_DS3_v2"


@pytest.fixture(scope="session")
def client(emulator: Emulator) -> MLClient:
    return emulator.client()


@pytest.fixture(scope="session")
def model(client: MLClient, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A registered custom model: one folder with one file."""
    return registered_model(client, tmp_path_factory.mktemp("model") / "weights")


def registered_model(client: MLClient, folder: Path, name: str = "scripted") -> Model:
    from azure.ai.ml.entities import Model

    folder.mkdir()
    (folder / "weights.txt").write_text(folder.name)
    return client.models.create_or_update(Model(name=name, version="1", path=folder, type="custom_model"))


@dataclass
class Endpoint:
    """An endpoint, and the shortest way to do something with it."""

    client: MLClient
    name: str
    model: str

    def deployment(
        self, name: str, *, settings: dict[str, Any] | None = None, **variables: str
    ) -> ManagedOnlineDeployment:
        from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment

        arguments: dict[str, Any] = {
            "name": name,
            "endpoint_name": self.name,
            "model": self.model,
            "instance_type": SIZE,
            "instance_count": 1,
            "code_configuration": CodeConfiguration(code=str(SCRIPT), scoring_script="score.py"),
            "environment": Environment(name="scripted", version="1", image="mcr.microsoft.com/none:1"),
            "environment_variables": {"COLOR": name, "ENDPOINT": self.name, **variables},
        }
        return ManagedOnlineDeployment(**{**arguments, **(settings or {})})

    def deploy(self, name: str, *, settings: dict[str, Any] | None = None, **variables: str) -> ManagedOnlineDeployment:
        """Creates or updates a deployment and waits for it."""
        made = self.deployment(name, settings=settings, **variables)
        return self.client.online_deployments.begin_create_or_update(made).result()

    def route(self, **traffic: int) -> None:
        """Divides the traffic."""
        endpoint = self.client.online_endpoints.get(self.name)
        endpoint.traffic = traffic
        self.client.online_endpoints.begin_create_or_update(endpoint).result()

    @property
    def url(self) -> str:
        return str(self.client.online_endpoints.get(self.name).scoring_uri)

    @property
    def key(self) -> str:
        return str(self.client.online_endpoints.get_keys(self.name).primary_key)

    def score(self, body: object = None, **headers: str) -> requests.Response:
        """Scores with the primary key, as any HTTP client does."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return requests.post(self.url, data=json.dumps(body or {}), headers=sent, timeout=30)

    def process(self, deployment: str) -> int:
        """The process that answers for a deployment."""
        return int(self.score(azureml_model_deployment=deployment).json()["process"])


def create_endpoint(client: MLClient, model: str | None, **arguments: Any) -> Endpoint:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    assert model is not None, "a registered model has an id"
    name = f"e-{uuid.uuid4().hex[:12]}"
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, **arguments)).result()
    return Endpoint(client, name, model)


@pytest.fixture
def endpoint(client: MLClient, model: Model) -> Iterator[Endpoint]:
    """An endpoint of the test's own, deleted afterwards."""
    made = create_endpoint(client, model.id, auth_mode="key")
    yield made
    client.online_endpoints.begin_delete(made.name).result()


@pytest.fixture(scope="module")
def split(client: MLClient, model: Model) -> Iterator[Endpoint]:
    """One endpoint for all tests of a module that only score: `blue` gets three quarters of the traffic, `green` one."""
    made = create_endpoint(client, model.id, auth_mode="key")
    made.deploy("blue")
    made.deploy("green", settings={"request_settings": request_settings(timeout_ms=700, at_once=2)})
    made.route(blue=75, green=25)
    yield made
    client.online_endpoints.begin_delete(made.name).result()


def request_settings(timeout_ms: int, at_once: int = 1) -> Any:
    from azure.ai.ml.entities import OnlineRequestSettings

    return OnlineRequestSettings(request_timeout_ms=timeout_ms, max_concurrent_requests_per_instance=at_once)


def serving(endpoint: Endpoint) -> list[int]:
    """The model server processes of the endpoint's deployments."""

    def serves(process: psutil.Process) -> bool:
        return (
            "emulator.scoring.model_server" in process.cmdline() and process.environ().get("ENDPOINT") == endpoint.name
        )

    return [process.pid for process in alive_where(serves)]
