"""Looks up the foundation model and what its publisher says about it.

Promise: before anything is made, a model that does not exist, cannot be fine-tuned for chat, is archived or is retired is named as
such, with the date. What is unknown of it, or about to change, is said on the run's page.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import Field

from blocks import AzureMLWorkspace
from blocks.names import REGISTRY_MODEL, RegistryModelName
from tasks.artifacts import markdown_table, publish_markdown, quoting
from tasks.azure_ml.clock import day_of
from tasks.azure_ml.errors import InvalidConfiguration, is_not_found
from tasks.azure_ml.foundation import EVENTS, FoundationModel, read_model, retirement_refusal, tuning_refusal, warnings
from tasks.form import ParameterGroup
from tasks.stage import run_logger, stage


class ModelParameters(ParameterGroup):
    """Which foundation model is fine-tuned."""

    name: RegistryModelName = Field(
        "Phi-3-mini-4k-instruct",
        title="Model",
        description=f"The base model, by its name in the registry. {REGISTRY_MODEL.bounds}",
    )
    version: str | None = Field(
        None,
        min_length=1,
        title="Version",
        description="The base model's version. Default: the latest. The run records which it was.",
        examples=["13"],
    )
    allow_retired: bool = Field(
        False,
        title="Allow retired models",
        description="Go on with a model that is archived or retired; Azure may still refuse it.",
    )


@stage
def find_foundation_model(
    workspace: AzureMLWorkspace, choice: ModelParameters, serves: bool = True, today: date | None = None
) -> FoundationModel:
    """Reads `choice` from the registry, for a run that `serves` what it trains or not.

    Args:
        today: by which the model's dates are judged. Default: the date that the registry answers with.

    Raises:
        InvalidConfiguration: there is no such model, it cannot be fine-tuned for chat, or it is archived or retired (unless the
            choice allows that).
    """
    answer, answered_on = _answer(workspace, choice)
    day, model = today or answered_on, read_model(answer)
    if refused := tuning_refusal(model):
        raise InvalidConfiguration(refused)
    trouble = retirement_refusal(model, day, serves=serves)
    if trouble and not choice.allow_retired:
        raise InvalidConfiguration(
            f"{trouble} Set model.name to another model, or model.allow_retired to try all the same."
        )
    if trouble:
        model.notes.append(f"{trouble} Going on, since model.allow_retired is set.")
    model.notes += warnings(model, day, serves=serves)
    for note in model.notes:
        run_logger().warning(note)
    run_logger().info("Base model %s, version %s.", model.name, model.version)
    publish_markdown("base-model", f"{model}: {len(model.notes) or 'no'} warnings", _page(model, day))
    return model


class _Listening:
    """The registry's client, which keeps its latest answer: the SDK's functions return what is in it, not when it was given."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.answer: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_request(self, *request: Any, **more: Any) -> Any:
        self.answer = self._client.send_request(*request, **more)
        return self.answer


def _answer(workspace: AzureMLWorkspace, choice: ModelParameters) -> tuple[Any, date]:
    """What the registry answers about the model, as it sends it, and on which day, by its clock. The SDK's `Model` leaves
    `systemMetadata` out, and cannot be made of a model without flavors."""
    from azure.ai.ml._restclient.arm_ml_service.models import ModelVersion
    from azure.ai.ml._utils._asset_utils import _get_latest
    from azure.ai.ml._utils._registry_utils import get_registry_versioned_asset

    models = workspace.registry_client().models
    registry, client, group = workspace.registry_name, models._registry_service_client, models._resource_group_name
    version = choice.version
    try:
        if version is None:
            latest = _get_latest(
                choice.name,
                None,
                group,
                registry_name=registry,
                registry_service_client=client,
                asset_plural="models",
                arm_cls=ModelVersion,
            )
            version = str(latest.id).rpartition("/")[2]
        listening = _Listening(client)
        found = get_registry_versioned_asset(listening, "models", choice.name, version, group, registry)
        return found, day_of(listening.answer.headers)
    except Exception as error:
        if is_not_found(error) or "does not exist" in str(error):
            where = f"model {choice.name}{f' version {version}' if version else ''} in registry {registry}"
            raise InvalidConfiguration(
                f"There is no {where}. Choose one from the model catalog (https://ml.azure.com/models)."
            ) from error
        raise


def _page(model: FoundationModel, day: date) -> str:
    """What the registry says of the model, for people."""
    dates = [f"{of} {becomes}: {model.dates[name]}" for name, (of, becomes) in EVENTS.items() if name in model.dates]
    facts = {
        "Fine-tuning tasks": _listed(model.finetune_tasks),
        "Fine-tunes on": _listed(model.finetune_allow_list),
        "Fine-tunes on no less than": model.finetune_minimum or "unknown",
        "Inference tasks": _listed(model.inference_tasks),
        "Is served on": _listed(model.inference_allow_list),
        "Is served on no less than": model.inference_minimum or "unknown",
        "Archived": {True: "yes", False: "no", None: "unknown"}[model.archived],
        "Dates": "; ".join(dates) or "none is announced",
        "Judged on": day,
        "Its publisher's defaults": ", ".join(f"{name} {value}" for name, value in model.defaults.items()) or "none",
    }
    table = markdown_table((str(model), ""), [(name, quoting(str(value))) for name, value in facts.items()])
    return "\n\n".join([*(f"* {quoting(note)}" for note in model.notes), table])


def _listed(names: list[str] | None) -> str:
    return "unknown" if names is None else ", ".join(names) or "none"
