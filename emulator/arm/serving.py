"""How a deployment comes to be served: its files located, its processes started, its state written."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path, PurePosixPath

from emulator import errors
from emulator.arm.deployment_body import DeploymentProperties, LogsBody, Probe, RequestSettings
from emulator.arm.durations import seconds
from emulator.arm.endpoints import DEPLOYMENT
from emulator.faults.book import under
from emulator.faults.rules import DeploymentCrash, DeploymentNeverReady
from emulator.operations import OperationFailed
from emulator.scoring.artifacts import Artifact, Artifacts
from emulator.scoring.fleet import Fleet, StartFailed
from emulator.scoring.process import Spec
from emulator.store import Document, Store

log = logging.getLogger("emulator.serving")

SERVER, STORAGE = "inference-server", "storage-initializer"
# What a process was started with: another value of these needs another process.
PROCESS_PARTS = ("model", "codeConfiguration", "environmentVariables", "requestSettings")


class Serving:
    """Brings what `Deployments` keeps to life."""

    def __init__(self, store: Store, fleet: Fleet, artifacts: Artifacts) -> None:
        self._store = store
        self._fleet = fleet
        self._artifacts = artifacts

    def resolve(self, sent: DeploymentProperties) -> tuple[Artifact | None, Artifact | None]:
        """The model and the scoring script's folder.

        Raises:
            AzureError: 404, one of them is not there; 400, it is no id, or the script lies outside its folder.
        """
        script = sent.codeConfiguration
        if script is not None:
            path = PurePosixPath(script.scoringScript)
            if path.is_absolute() or ".." in path.parts:
                raise errors.request_invalid(
                    "The scoring script must lie in its code's folder. Path 'codeConfiguration'."
                )
        model = None if sent.model is None else self._artifacts.model(sent.model)
        return model, None if script is None else self._artifacts.code(script.codeId)

    async def provision(self, kept: Document, before: Document | None) -> None:
        """The work of a PUT's operation; `before` is what it changed.

        Raises:
            OperationFailed: with Azure's sentence.
        """
        try:
            if not self._is_served(kept, before):
                await self._fleet.launch(await self._spec(kept))
        except StartFailed as failure:
            self.settle(kept, state="Failed")
            raise OperationFailed(errors.operation_error(str(failure))) from None
        except asyncio.CancelledError:
            raise
        except Exception as problem:
            log.exception("deployment %s/%s failed", kept["endpoint"], kept["name"])
            self._note(kept, f"The model could not be fetched: {problem}")
            self.settle(kept, state="Failed")
            message = f"ResourceNotReady: The model could not be fetched: {problem}"
            raise OperationFailed(errors.operation_error(message)) from None
        self.settle(kept, state="Succeeded", isFetched=True)

    async def resume(self, kept: Document) -> None:
        """Serves again what was served before the emulator was started."""
        try:
            await self._fleet.resume(await self._spec(kept))
        except Exception as problem:
            log.warning("deployment %s/%s could not be served again: %s", kept["endpoint"], kept["name"], problem)
            self.settle(kept, state="Failed")

    def settle(self, kept: Document, **changes: object) -> None:
        """Writes how it went, unless the deployment has been changed or deleted since."""
        key = f"{kept['endpoint']}/{kept['name']}"
        now = self._store.get(DEPLOYMENT, key)
        if now is not None and now["revision"] == kept["revision"]:
            self._store.put(DEPLOYMENT, key, {**now, **changes})

    def logs(self, kept: Document, asked: LogsBody) -> str:
        """The last lines of a container's log, under Azure's own heading."""
        container = STORAGE if asked.containerType == "StorageInitializer" else SERVER
        tail = self._fleet.log_tail(kept["endpoint"], kept["name"], container, asked.tail)
        ended = kept["state"] if kept["state"] in ("Succeeded", "Failed") else "Waiting"
        fetched = kept["isFetched"]
        return (
            "Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: Succeeded\n"
            f"ModelDownload: {'Succeeded' if fetched else ended}\nUserContainerStart: {ended if fetched else 'Waiting'}\n\n"
            f"Container logs:\n{tail}"
        )

    def _is_served(self, kept: Document, before: Document | None) -> bool:
        """Whether the processes that run already are those that `kept` asks for."""
        if under(DeploymentCrash) or under(DeploymentNeverReady):
            return False  # what was asked to fail has to start
        running = self._fleet.find(kept["endpoint"], kept["name"])
        if before is None or running is None or not running.ready or before["capacity"] != kept["capacity"]:
            return False
        if before["state"] != "Succeeded":
            return False  # what runs may be older still
        return all(before["properties"].get(part) == kept["properties"].get(part) for part in PROCESS_PARTS)

    async def _spec(self, kept: Document) -> Spec:
        """What the deployment's processes run. Its files are located, and written first where they must be."""
        sent = DeploymentProperties.model_validate(kept["properties"])
        model, code = self.resolve(sent)
        model_path = None if model is None else await self._fetch(kept, "model", model)
        code_path = None if code is None else await self._fetch(kept, "scoring script", code)
        place = model_path or code_path
        if place is None:
            raise ValueError("the deployment has neither a model nor a scoring script")
        self.settle(kept, isFetched=True)
        liveness, readiness = sent.livenessProbe or Probe(), sent.readinessProbe or Probe()
        return Spec(
            endpoint=kept["endpoint"],
            deployment=kept["name"],
            model=place,
            code=code_path,
            entry=sent.codeConfiguration.scoringScript if sent.codeConfiguration else None,
            variables=sent.environmentVariables or {},
            instances=kept["capacity"],
            timeout=seconds((sent.requestSettings or RequestSettings()).requestTimeout),
            budget=min(liveness.budget, readiness.budget),
        )

    async def _fetch(self, kept: Document, what: str, artifact: Artifact) -> Path:
        self._note(kept, f"Downloading {what} {artifact.name}:{artifact.version} from {artifact.uri}")
        path = await asyncio.to_thread(artifact.locate)
        if not path.exists():
            raise FileNotFoundError(f"nothing is at {artifact.uri}")
        self._note(kept, f"The {what} is at {path}")
        return path

    def _note(self, kept: Document, sentence: str) -> None:
        self._fleet.note(kept["endpoint"], kept["name"], STORAGE, sentence)
