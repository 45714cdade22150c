"""A job as Azure Resource Manager shows it: what was submitted, and what the service adds to it."""

from __future__ import annotations

import json
from typing import Any

from emulator.engine.engine import Engine
from emulator.engine.runs import Run, RunKind, Status
from emulator.installation import PROVIDER, Installation
from emulator.store import Document


class JobDocument:
    """Renders jobs. A pipeline's child has no properties here, as on Azure: run history has them."""

    def __init__(self, installation: Installation, engine: Engine) -> None:
        self._installation = installation
        self._engine = engine

    def render(self, run: Run, *, fresh: bool = False) -> Document:
        """The job as an answer; `fresh` is the answer to its creation, which on Azure tells less."""
        base = {
            "id": f"{self._installation.workspace_id}/jobs/{run.id}",
            "name": run.id,
            "type": f"{PROVIDER}/workspaces/jobs",
        }
        created = {"createdAt": run.created, "createdBy": "emulator", "createdByType": "Application"}
        modified = {"lastModifiedAt": run.ended or run.started or run.created, "lastModifiedBy": "emulator"}
        system = {"systemData": created if fresh else {**created, **modified}}
        if not run.is_job:
            return {**base, **system}
        sent = self._engine.specification(run.id) or {}
        properties: Document = {
            "componentId": None,
            "identity": None,
            "notificationSetting": None,
            "secretsConfiguration": None,
            "computeId": None,
            "inputs": {},
            **sent,
            "description": run.description,
            "tags": run.tags,
            "properties": {} if fresh else {**self._added(run), **run.properties},
            "displayName": run.display_name,
            "experimentName": run.experiment,
            "isArchived": run.hidden,
            "status": run.status,
            "services": self._services(run),
            "outputs": self._outputs(run, sent.get("outputs") or {}),
            **({"sourceJobId": None} if run.kind is RunKind.PIPELINE else {"parameters": {}}),
        }
        return {**base, "properties": properties, **system}

    def _services(self, run: Run) -> Document:
        here = self._installation
        common = dict.fromkeys(("port", "status", "errorMessage", "properties", "nodes"))
        scope = f"{here.subscription_path}/resourcegroups/{here.resource_group}/workspaces/{here.workspace}"
        return {
            "Tracking": {
                **common,
                "jobServiceType": "Tracking",
                "endpoint": f"azureml://{here.data_host}/mlflow/v1.0{here.workspace_id}?",
            },
            "Studio": {
                **common,
                "jobServiceType": "Studio",
                "endpoint": f"https://ml.azure.com/runs/{run.id}?wsid={scope}",
            },
        }

    def _outputs(self, run: Run, sent: dict[str, Any]) -> Document:
        outputs = {}
        for name, spec in sent.items():
            kept = run.outputs.get(name) if run.status is Status.COMPLETED else None
            made = self._engine.places.output_uri(kept["path"], kept["type"]) if kept else None
            outputs[name] = {**(spec or {}), "uri": (spec or {}).get("uri") or made}
        return outputs

    def _added(self, run: Run) -> dict[str, str]:
        """The properties that the service adds of itself."""
        if run.kind is RunKind.COMMAND:
            return {
                "azureml.DevPlatv2": "true",
                "_azureml.ComputeTargetType": "amlctrain",
                "_azureml.ClusterName": run.compute,
            }
        sent = self._engine.specification(run.id) or {}
        settings = sent.get("settings") or {}
        stages = {
            "Initialization": None,
            "Execution": {"StartTime": run.started, "EndTime": run.ended, "Status": run.status},
        }
        literals = {
            name: given.get("value") for name, given in (sent.get("inputs") or {}).items() if given and "value" in given
        }
        return {
            "azureml.DevPlatv2": "true",
            "DatasetAccessMode": "Asset",
            "azureml.runsource": "azureml.PipelineRun",
            "runSource": "MFE",
            "runType": "HTTP",
            "azureml.parameters": json.dumps(literals),
            "azureml.continue_on_step_failure": str(bool(settings.get("continue_on_step_failure"))),
            "azureml.continue_on_failed_optional_input": "True",
            "azureml.enforceRerun": str(bool(settings.get("force_rerun"))),
            "azureml.defaultDataStoreName": "workspaceblobstore",
            "azureml.pipelineComponent": "pipelinerun",
            **({"azureml.pipelines.stages": json.dumps(stages)} if run.status.is_terminal else {}),
        }
