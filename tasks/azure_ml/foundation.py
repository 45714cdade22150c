"""What a foundation model is: what its publisher says of it, and what follows from that on a day.

Since the summer of 2026 a registry keeps these facts in `systemMetadata` (`tasks.fineTuningTasks`, ...); before, they were tags and
properties (`finetuning-tasks`, ...). Both are read. What is nowhere, or cannot be read, is unknown, and is said to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from pydantic import BaseModel

from tasks.azure_ml.facts import Facts, day, flag, scalars, words
from tasks.azure_ml.skus import MinimumSpec

CHAT = "chat-completion"
SOON = timedelta(days=90)
"""How long before one of a model's dates it is warned of: time to try another model."""
EVENTS = {
    "finetuneDeprecationDate": ("Fine-tuning", "deprecated"),
    "finetuneRetirementDate": ("Fine-tuning", "retired"),
    "inferenceLegacyDate": ("Inference", "legacy"),
    "inferenceDeprecationDate": ("Inference", "deprecated"),
    "inferenceRetirementDate": ("Inference", "retired"),
}
"""Azure's names of a model's dates: what of it becomes what."""


class FoundationModel(BaseModel):
    """A model of the registry, with what matters to fine-tune and serve it. None: unknown."""

    id: str
    name: str
    version: str
    files: str = ""
    """The address of the folder of blobs that it is; empty if the registry does not tell it."""
    finetune_tasks: list[str] | None
    """Empty: its publisher offers no fine-tuning."""
    inference_tasks: list[str] | None
    finetune_allow_list: list[str] | None
    inference_allow_list: list[str] | None
    finetune_minimum: MinimumSpec | None
    inference_minimum: MinimumSpec | None
    defaults: dict[str, Any]
    """The publisher's `model_specific_defaults`: strings, numbers and booleans, as they are written."""
    archived: bool | None
    dates: dict[str, date]
    """By Azure's names for them (EVENTS), as far as any are announced."""
    unreadable: list[str] = []
    """What is said in no form that is known, each with its name."""
    notes: list[str] = []
    """What a run with it has to be told, a sentence each."""

    def __str__(self) -> str:
        """As sentences name it."""
        return f"{self.name} version {self.version}"


def read_model(answer: Any) -> FoundationModel:
    """The model version that a registry has answered with: the body of `GET .../models/{name}/versions/{version}`.

    Raises:
        DecodeError: it is none, or not all of one.
    """
    from azure.core.exceptions import DecodeError

    own = answer.get("properties") if isinstance(answer, dict) else None
    place = re.fullmatch(r".*/models/([^/]+)/versions/([^/]+)", str(answer.get("id"))) if own else None
    if not isinstance(own, dict) or place is None:
        raise DecodeError("no model")
    metadata = own.get("systemMetadata") or own.get("system_metadata")
    facts = Facts(metadata, own.get("tags"), own.get("properties"), own)
    archived = set(facts.every(flag, "isArchived"))
    if own.get("stage") == "Archived":
        archived.add(True)
    finetune_tasks = facts.read(words, "fineTuningTasks")
    if facts.says("inferenceTasks") and not any(map(facts.says, _OF_TUNING)):
        finetune_tasks = []  # who says in today's form what a model is for, and nothing of tuning it, offers no tuning
    return FoundationModel(
        id=answer["id"],
        name=place[1],
        version=place[2],
        files=str(own.get("modelUri") or ""),
        finetune_tasks=finetune_tasks,
        inference_tasks=facts.read(words, "inferenceTasks", "task"),
        finetune_allow_list=facts.read(words, "finetuneComputes", "finetune_compute_allow_list"),
        inference_allow_list=facts.read(words, "inferenceComputes", "inference_compute_allow_list"),
        finetune_minimum=facts.read(MinimumSpec.parse, "finetuneMinSkuSpec"),
        inference_minimum=facts.read(MinimumSpec.parse, "inferenceMinSkuSpec"),
        defaults=facts.read(_defaults, "model_specific_defaults") or {},
        archived=any(archived) if archived else None,
        dates={name: found for name in EVENTS if (found := facts.read(day, name))},
        unreadable=facts.unreadable,
    )


def tuning_refusal(model: FoundationModel) -> str | None:
    """Why `model` cannot be fine-tuned for chat; None if it can be, or if that is unknown."""
    if model.finetune_tasks is None or CHAT in {task.lower() for task in model.finetune_tasks}:
        return None
    offered = f"it for {', '.join(model.finetune_tasks)} only" if model.finetune_tasks else "none at all"
    return (
        f"{model} cannot be fine-tuned for chat: of fine-tuning, its publisher offers {offered}. Set model.name to a model whose "
        f"fine-tuning tasks include {CHAT}."
    )


def retirement_refusal(model: FoundationModel, today: date, *, serves: bool) -> str | None:
    """How its publisher has taken `model` away by `today`, for a run that `serves` what it trains or not; None if it is there."""
    parts = []
    if (tuning := model.dates.get("finetuneRetirementDate")) and tuning <= today:
        parts.append(f"Fine-tuning of {model} was retired on {tuning}.")
    if model.archived:
        parts.append(f"{model} is archived: its publisher has withdrawn it.")
    if serves and (inference := model.dates.get("inferenceRetirementDate")) and inference <= today:
        parts.append(
            f"Inference of {model} was retired on {inference}: what is trained could only be registered (deployment.enabled off), "
            "not served."
        )
    return " ".join(parts) or None


def warnings(model: FoundationModel, today: date, *, serves: bool) -> Iterator[str]:
    """What to know of `model` before a run with it that is no reason to refuse it, a sentence each."""
    for name, on in model.dates.items():
        of, becomes = EVENTS[name]
        if today < on <= today + SOON:
            yield f"{of} of {model} will be {becomes} from {on} on, in {(on - today).days} days: try another model (model.name)."
        elif on <= today and becomes != "retired":
            yield f"{of} of {model} has been {becomes} since {on}."
        elif on <= today and name == "inferenceRetirementDate" and not serves:
            yield f"Inference of {model} was retired on {on}; this run does not serve it."
    if model.finetune_tasks is None:
        yield f"Whether {model} can be fine-tuned for chat is unknown: the registry names no fine-tuning tasks."
    if model.finetune_allow_list is None and model.finetune_minimum is None:
        yield f"Which VM sizes can fine-tune {model} is unknown: the registry names neither sizes nor a smallest machine."
    if serves and model.inference_allow_list is None and model.inference_minimum is None:
        yield f"Which VM sizes can serve {model} is unknown: the registry names neither sizes nor a smallest machine."
    if model.archived is None:
        yield f"Whether {model} is archived is unknown: the registry does not tell."
    for fact in model.unreadable:
        yield f"A fact about {model} in the registry cannot be read and does not count: {fact}."


_OF_TUNING = ("fineTuningTasks", "finetuneComputes", "finetuneMinSkuSpec")


def _defaults(value: object) -> dict[str, str | int | float | bool]:
    """`scalars`, of which numbers are those that the flow itself reckons with."""
    found = scalars(value)
    for name, number in (("learning_rate_min", float), ("learning_rate_max", float), ("num_nodes_finetune", int)):
        number(found.get(name, 1))
    return found
