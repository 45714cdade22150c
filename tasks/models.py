"""Looks up the foundation model and what its publisher says about it.

Promise: a model that does not exist, is archived or can no longer be fine-tuned is named as such before anything is spent.
"""

from __future__ import annotations

import ast
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from blocks import AzureMLWorkspace
from blocks.names import REGISTRY_MODEL, RegistryModelName
from tasks.azure_ml.errors import InvalidConfiguration, is_not_found
from tasks.azure_ml.skus import MinimumSpec
from tasks.azure_ml.states import word
from tasks.form import ParameterGroup
from tasks.stage import run_logger, stage

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model
    from azure.ai.ml.operations import ModelOperations


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
        description="Go on with a model that is archived or whose fine-tuning is retired; Azure may still refuse it.",
    )


class FoundationModel(BaseModel):
    """A model of the registry, with what matters to fine-tune and serve it."""

    id: str
    name: str
    version: str
    files: str = ""
    """The address of the folder of blobs that it is; empty if the registry does not tell it."""
    finetune_allow_list: list[str] | None
    inference_allow_list: list[str] | None
    finetune_minimum: MinimumSpec | None
    inference_minimum: MinimumSpec | None
    defaults: dict[str, Any]
    """The publisher's `model_specific_defaults`."""
    archived: bool
    dates: dict[str, date]
    """Deprecation and retirement dates by Azure's names for them, where the model has any."""


@stage
def find_foundation_model(workspace: AzureMLWorkspace, choice: ModelParameters) -> FoundationModel:
    """Reads `choice` from the registry.

    Raises:
        InvalidConfiguration: there is no such model, or it is archived or retired (unless the choice allows that).
    """
    models = workspace.registry_client().models
    where = f"model {choice.name}{f' version {choice.version}' if choice.version else ''} in registry {workspace.registry_name}"
    try:
        found = (
            models.get(choice.name, version=choice.version)
            if choice.version
            else models.get(choice.name, label="latest")
        )
    except Exception as error:
        if is_not_found(error) or "does not exist" in str(error):
            raise InvalidConfiguration(
                f"There is no {where}. Choose one from the model catalog (https://ml.azure.com/models)."
            ) from error
        raise
    model = describe(found)
    model.archived = model.archived or _is_archived(models, model)
    trouble = why_unusable(model, today=datetime.now(UTC).date())
    if trouble and not choice.allow_retired:
        raise InvalidConfiguration(f"{trouble} Choose another model, or set model.allow_retired to try all the same.")
    if trouble:
        run_logger().warning("%s Going on, since model.allow_retired is set.", trouble)
    run_logger().info("Base model %s, version %s.", model.name, model.version)
    return model


def describe(model: Model) -> FoundationModel:
    """What the registry's answer says. Publishers put these facts into tags, properties or system metadata."""
    facts = _facts(model.tags, model.properties, getattr(model, "_system_metadata", None))
    return FoundationModel(
        id=str(model.id),
        name=str(model.name),
        version=str(model.version),
        files=str(getattr(model, "path", None) or ""),
        finetune_allow_list=_names(facts.get("finetunecomputeallowlist")),
        inference_allow_list=_names(facts.get("inferencecomputeallowlist")),
        finetune_minimum=MinimumSpec.parse(facts.get("finetuneminskuspec")),
        inference_minimum=MinimumSpec.parse(facts.get("inferenceminskuspec")),
        defaults=literal_mapping(facts.get("modelspecificdefaults")),
        archived=str(facts.get("isarchived", False)).lower() == "true" or word(model.stage).lower() == "archived",
        dates=_dates(facts),
    )


def why_unusable(model: FoundationModel, today: date) -> str | None:
    """A sentence if `model` is archived or its fine-tuning was retired by `today`; else None."""
    retired = model.dates.get("finetuneRetirementDate")
    if retired and retired <= today:
        return f"Fine-tuning of {model.name} version {model.version} was retired on {retired}."
    if model.archived:
        return f"{model.name} version {model.version} is archived: its publisher has withdrawn it."
    return None


def literal_mapping(value: object) -> dict[str, Any]:
    """A mapping that is one already, or is written as a Python literal or as JSON; empty if it is neither."""
    if isinstance(value, dict):
        return value
    parsed = _literal(value)
    return parsed if isinstance(parsed, dict) else {}


def _is_archived(models: ModelOperations, model: FoundationModel) -> bool:
    """The SDK drops the flag from what it returns; the listings keep it."""
    from azure.ai.ml.constants import ListViewType

    def listed(view: ListViewType) -> bool:
        return any(found.version == model.version for found in models.list(model.name, list_view_type=view))

    return listed(ListViewType.ARCHIVED_ONLY) and not listed(ListViewType.ACTIVE_ONLY)


_DATES = ("finetuneDeprecationDate", "finetuneRetirementDate", "inferenceDeprecationDate", "inferenceRetirementDate")


def _facts(*places: object) -> dict[str, Any]:
    """All facts by their names in lower-case letters: publishers write `a-b`, `a_b` and `aB`. The first place wins."""
    facts: dict[str, Any] = {}
    for place in places:
        if isinstance(place, dict):
            for name, value in place.items():
                facts.setdefault(_key(str(name)), value)
                if _key(str(name)) == "deprecation":
                    facts = _facts(literal_mapping(value)) | facts
    return facts


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _names(value: object) -> list[str] | None:
    """A list that is one already, or is written as a literal or with commas."""
    if value in (None, ""):
        return None
    parsed = value if isinstance(value, list) else _literal(value)
    if isinstance(parsed, list | tuple):
        return [str(name) for name in parsed]
    return [name.strip() for name in str(value).split(",") if name.strip()]


def _literal(value: object) -> object:
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(str(value))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _dates(facts: dict[str, Any]) -> dict[str, date]:
    dates = {}
    for name in _DATES:
        try:
            dates[name] = date.fromisoformat(str(facts[_key(name)])[:10])
        except (KeyError, ValueError):
            continue
    return dates
