"""A base model is asked for in the registry, and refused or warned of before anything is made."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from blocks import AzureMLWorkspace
from tasks import models as module
from tasks.azure_ml.errors import AzureFailure, InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.azure_ml.kinds import Kind
from tasks.models import ModelParameters, find_foundation_model
from tests.emulated import ROOT, Emulator

PUBLISHED = json.loads((ROOT / "tests" / "data" / "published_models.json").read_text("utf-8"))
TODAY = date(2026, 7, 31)


def found(workspace: AzureMLWorkspace, name: str, **more: Any) -> FoundationModel:
    given = {"serves": True, "today": TODAY, **more}
    return find_foundation_model.fn(workspace, ModelParameters(name=name, **given.pop("choice", {})), **given)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is published on the run's page, by key."""
    kept: dict[str, str] = {}
    monkeypatch.setattr(module, "publish_markdown", lambda key, said, page: kept.update({key: f"{said}\n{page}"}))
    return kept


@pytest.mark.parametrize("its", PUBLISHED, ids=[model["name"] for model in PUBLISHED])
def test_a_published_model_is_found_or_refused_by_what_the_registry_sends(
    emulator: Emulator, workspace: AzureMLWorkspace, its: dict[str, Any]
) -> None:
    facts = {"tags": its["tags"], "system_metadata": its["system_metadata"]}
    name = emulator.publish(f"as-published-{its['name']}", its["version"], **facts)
    if its["name"] == "Phi-4":
        model = found(workspace, name)
        assert (model.name, model.version, model.notes) == (name, "8", [])
        assert model.finetune_allow_list == its["system_metadata"]["supportedComputes"]["finetuneComputes"]
        assert model.defaults == its["tags"]["model_specific_defaults"]
        assert model.files.startswith("https://")
    else:
        with pytest.raises(InvalidConfiguration, match=rf"{name} version {its['version']} (was retired on|cannot be)"):
            found(workspace, name)


@pytest.mark.parametrize("choice", [ModelParameters(name="no-such-model"), ModelParameters(version="999")])
def test_an_unknown_model_is_refused(workspace: AzureMLWorkspace, choice: ModelParameters) -> None:
    version = f" version {choice.version}" if choice.version else ""
    with pytest.raises(InvalidConfiguration, match=f"There is no model {choice.name}{version} in registry azureml"):
        find_foundation_model.fn(workspace, choice)


def test_the_latest_version_is_taken_unless_one_is_named(emulator: Emulator, workspace: AzureMLWorkspace) -> None:
    for version in ("9", "10"):
        emulator.publish("in-versions", version)
    assert found(workspace, "in-versions").version == "10"
    assert found(workspace, "in-versions", choice={"version": "9"}).version == "9"


VERSION = {"method": "GET", "path": "*/registries/azureml/models/Phi-3-mini-4k-instruct/versions/15", "times": 0}


def test_a_model_of_which_the_sdk_makes_no_entity_is_read(emulator: Emulator, workspace: AzureMLWorkspace) -> None:
    id = "azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/15"
    tasks = {"fineTuningTasks": ["chat-completion"]}
    answer = {"id": id, "properties": {"modelType": "custom_model", "system_metadata": {"tasks": tasks}}}
    with emulator.fault(VERSION, {"kind": "page", "html": json.dumps(answer)}):
        assert found(workspace, "Phi-3-mini-4k-instruct").finetune_tasks == ["chat-completion"]
        with pytest.raises(AttributeError):
            workspace.registry_client().models.get("Phi-3-mini-4k-instruct", version="15")


@pytest.mark.parametrize("body", ["<html>Back shortly.</html>", "{}", "[]", '{"id": "azureml://registries/azureml/mod'])
def test_an_answer_that_is_not_the_registrys_is_trouble_that_may_pass(
    emulator: Emulator, workspace: AzureMLWorkspace, body: str
) -> None:
    with emulator.fault(VERSION, {"kind": "page", "html": body}), pytest.raises(AzureFailure) as failure:
        found(workspace, "Phi-3-mini-4k-instruct")
    assert failure.value.info.kind is Kind.TRANSIENT


def test_the_models_of_the_emulator_say_all_that_a_run_asks_for(workspace: AzureMLWorkspace) -> None:
    for name in ("Phi-3-mini-4k-instruct", "SmolLM2-135M-Instruct"):
        assert found(workspace, name, today=None).notes == []


def test_a_model_in_the_spelling_of_2024_is_read_as_one_of_today(workspace: AzureMLWorkspace) -> None:
    old, new = (
        found(workspace, "Phi-2-chat", choice={"allow_retired": True}),
        found(workspace, "Phi-3-mini-4k-instruct", today=None),
    )
    for fact in (
        "finetune_tasks",
        "inference_tasks",
        "finetune_allow_list",
        "inference_allow_list",
        "finetune_minimum",
    ):
        assert getattr(old, fact) == getattr(new, fact)
    assert old.archived and set(old.dates.values()) == {date(2024, 6, 30), date(2024, 8, 30)}


def test_a_retired_model_is_refused_unless_asked_for(workspace: AzureMLWorkspace) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        found(workspace, "Phi-2-chat")
    for said in (
        "Fine-tuning of Phi-2-chat version 3 was retired on 2024-08-30.",
        "is archived",
        "Inference of Phi-2-chat",
    ):
        assert said in str(refused.value)
    assert "Set model.name to another model, or model.allow_retired" in str(refused.value)
    [first, *_] = found(workspace, "Phi-2-chat", choice={"allow_retired": True}).notes
    assert "was retired on 2024-08-30" in first and "Going on, since model.allow_retired is set." in first


def test_a_model_that_cannot_be_tuned_for_chat_is_refused_whatever_is_allowed(
    emulator: Emulator, workspace: AzureMLWorkspace
) -> None:
    name = emulator.publish("for-texts", system_metadata={"tasks": {"fineTuningTasks": ["text-generation"]}})
    with pytest.raises(InvalidConfiguration, match="offers it for text-generation only"):
        found(workspace, name, choice={"allow_retired": True})


def test_only_what_will_be_served_has_to_be_servable(emulator: Emulator, workspace: AzureMLWorkspace) -> None:
    tasks = {"fineTuningTasks": ["chat-completion"], "inferenceTasks": ["chat-completion"]}
    metadata = {"tasks": tasks, "deprecation": {"inferenceRetirementDate": "2026-07-01T00:00:00.000000Z"}}
    name = emulator.publish("not-served", system_metadata=metadata)
    with pytest.raises(InvalidConfiguration, match="Inference of not-served version 1 was retired on 2026-07-01"):
        found(workspace, name)
    assert found(workspace, name, serves=False)
    assert found(workspace, name, today=date(2026, 6, 30))


def test_warnings_are_on_the_runs_page_and_in_its_log(
    emulator: Emulator, workspace: AzureMLWorkspace, pages: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    soon = {"deprecation": {"finetuneRetirementDate": "2026-08-30T00:00:00.000000Z", "inferenceRetirementDate": "soon"}}
    name = emulator.publish("soon-gone", system_metadata=soon)
    notes = found(workspace, name).notes
    page = pages["base-model"]
    assert f"{name} version 1: {len(notes)} warnings" in page
    for said in ("will be retired from 2026-08-30 on, in 30 days", "fine-tuned for chat is unknown", 'is "soon"'):
        assert any(said in note for note in notes) and said in page and said in caplog.text
    assert "| Fine-tunes on | unknown |" in page and "Fine-tuning retired: 2026-08-30" in page


def test_the_page_has_the_facts_by_which_a_run_is_judged(workspace: AzureMLWorkspace, pages: dict[str, str]) -> None:
    found(workspace, "Phi-3-mini-4k-instruct", today=None)
    page = pages["base-model"].replace("\\", "")
    for said in (
        "no warnings",
        "| chat-completion |",
        "Standard_NC24rs_v3",
        "24 vCPUs, 1 GPU, 220 GB of memory",
        "Fine-tuning retired: 2025-08-30",
        "| Judged on | 2025-03-01 |",
    ):
        assert said in page
