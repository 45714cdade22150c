"""Managed online deployments: a model, and the processes that serve it under an endpoint."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath

from emulator import errors
from emulator.arm import skus
from emulator.arm.deployment_body import DeploymentBody, DeploymentProperties, LogsBody, Probe, RequestSettings, Sku
from emulator.arm.deployment_document import render
from emulator.arm.durations import seconds
from emulator.arm.endpoints import BUSY, DEPLOYMENT, NAME, Endpoints
from emulator.installation import PROVIDER, Installation
from emulator.operations import Kind, OperationFailed, Operations
from emulator.scoring.artifacts import Artifact, Artifacts
from emulator.scoring.fleet import Fleet, StartFailed
from emulator.scoring.process import Spec
from emulator.store import Document, Store

log = logging.getLogger("emulator.deployments")

# What a process was started with: another value of these needs another process.
PROCESS_PARTS = ("model", "codeConfiguration", "environmentVariables", "requestSettings")
Reserve = Callable[[str, int], None]


class Deployments:
    """The deployments of all endpoints. `reserve` (instance type, instances) refuses what the serving quota cannot hold."""

    def __init__(
        self,
        installation: Installation,
        store: Store,
        operations: Operations,
        endpoints: Endpoints,
        fleet: Fleet,
        artifacts: Artifacts,
        reserve: Reserve,
    ) -> None:
        self._installation = installation
        self._store = store
        self._operations = operations
        self._endpoints = endpoints
        self._fleet = fleet
        self._artifacts = artifacts
        self._reserve = reserve
        self._resuming: set[asyncio.Task[None]] = set()

    # --------------------------------------------------------------------------------------------------- resources

    def find(self, endpoint: str, name: str) -> Document | None:
        """What is kept of the deployment: its body under `properties`, `capacity`, `state`; None when there is none."""
        return self._store.get(DEPLOYMENT, f"{endpoint}/{name}")

    def get(self, endpoint: str, name: str) -> Document:
        """The deployment as ARM shows it.

        Raises:
            AzureError: 404.
        """
        return render(self._installation, self._require(endpoint, name))

    def list(self, endpoint: str) -> list[Document]:
        """The endpoint's deployments, oldest first.

        Raises:
            AzureError: 404, there is no such endpoint.
        """
        self._endpoints.require(endpoint)
        return [render(self._installation, kept) for kept in self._store.list(DEPLOYMENT, f"{endpoint}/")]

    def put(self, endpoint: str, name: str, body: DeploymentBody) -> tuple[Document, dict[str, str]]:
        """Creates or changes a deployment; returns it as it now is and the operation's headers.

        Raises:
            AzureError: 404, no such endpoint or model; 400, a bad name or no quota; 409, an operation is running.
        """
        owner = self._endpoints.require(endpoint)
        if not NAME.fullmatch(name):
            raise errors.deployment_name(name)
        if owner["state"] in ("Creating", "Deleting"):
            self._endpoints.require_idle(owner)
        found = self.find(endpoint, name)
        if found is not None and found["state"] in BUSY:
            raise errors.conflict(
                f"Conflict: deployment {name} is in the state {found['state']}; wait for its operation to end and try again."
            )
        sent, sku = body.properties, body.sku or Sku()
        if sent.model is None and sent.codeConfiguration is None:
            raise errors.request_invalid("A deployment needs a model or a scoring script. Path 'properties'.")
        self._resolve(sent)  # an absent model is refused at once, not after the answer
        self._require_quota(found, sent.instanceType, sku.capacity)
        size, now = skus.find(sent.instanceType), datetime.now(UTC).isoformat()
        kept = {
            "name": name if found is None else found["name"],
            "endpoint": owner["name"],
            "tags": body.tags or {},
            "capacity": sku.capacity,
            "properties": sent.model_dump(exclude_none=True)
            | {"instanceType": size.name if size else sent.instanceType},
            "revision": str(uuid.uuid4()),
            "created": now if found is None else found["created"],
            "modified": now,
            "state": "Creating" if found is None else "Updating",
        }
        headers = self._operations.start(Kind.DEPLOYMENT, partial(self._provision, kept, found))
        kept["operation"] = headers["Azure-AsyncOperation"]
        self._store.put(DEPLOYMENT, f"{endpoint}/{name}", kept)
        document = render(self._installation, kept)
        address = f"https://management.azure.com{document['id']}?api-version=2023-04-01-preview"
        return document, {**headers, "Location": address}

    def delete(self, endpoint: str, name: str) -> dict[str, str] | None:
        """Deletes a deployment; returns the operation's headers, None when there is no such deployment.

        Raises:
            AzureError: 400, it has traffic.
        """
        owner, kept = self._endpoints.find(endpoint), self.find(endpoint, name)
        if owner is None or kept is None:
            return None
        percent = owner["traffic"].get(kept["name"], 0)
        if percent:
            raise errors.deployment_has_traffic(kept["name"], percent)
        self._store.put(DEPLOYMENT, f"{endpoint}/{name}", {**kept, "state": "Deleting", "revision": str(uuid.uuid4())})

        async def remove() -> None:
            await self._fleet.end(endpoint, name)
            self._store.delete(DEPLOYMENT, f"{endpoint}/{name}")
            # An entry of 0 % would outlive the deployment and make the next change of traffic fail.
            self._endpoints.drop_from(endpoint, "traffic", kept["name"])
            self._endpoints.drop_from(endpoint, "mirrorTraffic", kept["name"])

        return self._operations.start(Kind.DEPLOYMENT, remove)

    def logs(self, endpoint: str, name: str, body: LogsBody) -> str:
        """The last lines of a container's log, under Azure's own heading.

        Raises:
            AzureError: 404.
        """
        kept = self._require(endpoint, name)
        container = "storage-initializer" if body.containerType == "StorageInitializer" else "inference-server"
        tail = self._fleet.log_tail(kept["endpoint"], kept["name"], container, body.tail)
        downloaded = self._fleet.log_tail(kept["endpoint"], kept["name"], "storage-initializer", 1)
        started = {"Succeeded": "Succeeded", "Failed": "Failed"}.get(kept["state"], "Waiting")
        return (
            "Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: Succeeded\n"
            f"ModelDownload: {'Succeeded' if 'available' in downloaded else 'Failed' if started == 'Failed' else 'Waiting'}\n"
            f"UserContainerStart: {started}\n\nContainer logs:\n{tail}"
        )

    def cores_in_use(self) -> dict[str, int]:
        """The vCPUs that deployments hold, by family."""
        cores: dict[str, int] = {}
        for kept in self._store.list(DEPLOYMENT):
            size = skus.find(kept["properties"]["instanceType"])
            if size is not None:
                cores[size.family] = cores.get(size.family, 0) + size.vcpus * kept["capacity"]
        return cores

    # -------------------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Takes up what an earlier run of the emulator left: serves again what was served, ends what is not wanted."""
        for name in self._endpoints.finish_interrupted():
            self._endpoints.delete(name)
        kept = self._store.list(DEPLOYMENT)
        await self._fleet.end_strays({(one["endpoint"], one["name"]) for one in kept if one["state"] == "Succeeded"})
        for one in kept:
            if one["state"] == "Succeeded":
                task = asyncio.create_task(self._resume(one))
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)
            elif one["state"] == "Deleting":
                self._store.delete(DEPLOYMENT, f"{one['endpoint']}/{one['name']}")
            elif one["state"] in BUSY:
                self._settle(one, "Failed")

    async def stop(self) -> None:
        """Ends every process."""
        for task in list(self._resuming):
            task.cancel()
        await asyncio.gather(*self._resuming, return_exceptions=True)
        await self._fleet.close()

    async def _resume(self, kept: Document) -> None:
        try:
            await self._fleet.resume(await self._spec(kept))
        except Exception as problem:
            log.warning("deployment %s/%s could not be served again: %s", kept["endpoint"], kept["name"], problem)
            self._settle(kept, "Failed")

    # ------------------------------------------------------------------------------------------------- provisioning

    async def _provision(self, kept: Document, before: Document | None) -> None:
        try:
            if not self._is_served(kept, before):
                await self._fleet.launch(await self._spec(kept))
        except StartFailed as failure:
            self._settle(kept, "Failed")
            raise OperationFailed(errors.operation_error(str(failure))) from None
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            self._settle(kept, "Failed")
            log.exception("deployment %s/%s failed", kept["endpoint"], kept["name"])
            self._fleet.note(
                kept["endpoint"], kept["name"], "storage-initializer", f"The model is not there: {problem}"
            )
            raise OperationFailed(
                errors.operation_error(f"ResourceNotReady: the model could not be fetched: {problem}")
            ) from None
        self._settle(kept, "Succeeded")

    def _is_served(self, kept: Document, before: Document | None) -> bool:
        """Whether the processes that run already are those that `kept` asks for."""
        running = self._fleet.find(kept["endpoint"], kept["name"])
        if before is None or running is None or not running.ready or before["capacity"] != kept["capacity"]:
            return False
        return all(before["properties"].get(part) == kept["properties"].get(part) for part in PROCESS_PARTS)

    async def _spec(self, kept: Document) -> Spec:
        """What the deployment's processes run. The model's files are located, and written first where they must be."""
        endpoint, name = kept["endpoint"], kept["name"]
        sent = DeploymentProperties.model_validate(kept["properties"])
        model, code = self._resolve(sent)
        model_path: Path | None = None
        if model is not None:
            self._note(endpoint, name, f"Downloading model {model.name}:{model.version} from {model.uri}")
            model_path = await asyncio.to_thread(model.locate)
            if not model_path.exists():
                raise FileNotFoundError(f"nothing is at {model.uri}")
        code_path = None if code is None else await asyncio.to_thread(code.locate)
        self._note(endpoint, name, f"Model and scoring script are available{f' at {model_path}' if model_path else ''}")
        place = model_path or code_path
        assert place is not None  # put() demands a model or a script
        settings = sent.requestSettings or RequestSettings()
        liveness, readiness = sent.livenessProbe or Probe(), sent.readinessProbe or Probe()
        return Spec(
            endpoint=endpoint,
            deployment=name,
            model=place,
            code=code_path,
            entry=sent.codeConfiguration.scoringScript if sent.codeConfiguration else None,
            variables=sent.environmentVariables or {},
            instances=kept["capacity"],
            timeout=seconds(settings.requestTimeout),
            budget=min(liveness.budget, readiness.budget),
        )

    def _resolve(self, sent: DeploymentProperties) -> tuple[Artifact | None, Artifact | None]:
        script = sent.codeConfiguration
        if script is not None:
            path = PurePosixPath(script.scoringScript)
            if path.is_absolute() or ".." in path.parts:
                raise errors.request_invalid(
                    "The scoring script must lie in the code's folder. Path 'properties.codeConfiguration'."
                )
        model = None if sent.model is None else self._artifacts.model(sent.model)
        return model, None if script is None else self._artifacts.code(script.codeId)

    def _require_quota(self, found: Document | None, instance_type: str, instances: int) -> None:
        """A change needs quota only for what it adds."""
        held = 0
        if found is not None and found["properties"]["instanceType"].lower() == instance_type.lower():
            held = found["capacity"]
        if instances > held:
            self._reserve(instance_type, instances - held)

    # ------------------------------------------------------------------------------------------------------ helpers

    def _require(self, endpoint: str, name: str) -> Document:
        owner, kept = self._endpoints.require(endpoint), self.find(endpoint, name)
        if kept is None:
            path = f"{PROVIDER}/workspaces/{self._installation.workspace}/onlineEndpoints/{owner['name']}/deployments/{name}"
            raise errors.resource_not_found(path, self._installation.resource_group)
        return kept

    def _settle(self, kept: Document, state: str) -> None:
        """Writes the state at the end of an operation, unless the deployment has been changed or deleted since."""
        now = self.find(kept["endpoint"], kept["name"])
        if now is not None and now["revision"] == kept["revision"]:
            self._store.put(DEPLOYMENT, f"{kept['endpoint']}/{kept['name']}", {**now, "state": state})

    def _note(self, endpoint: str, name: str, sentence: str) -> None:
        self._fleet.note(endpoint, name, "storage-initializer", sentence)
