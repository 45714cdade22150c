"""What publishers say about their models, in every way they write it, and what follows from it on a day."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from azure.core.exceptions import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.azure_ml.foundation import FoundationModel, read_model, retirement_refusal, tuning_refusal, warnings
from tests.emulated import ROOT

PUBLISHED = {
    model["name"]: model for model in json.loads((ROOT / "tests" / "data" / "published_models.json").read_text("utf-8"))
}
"""Twenty models of the registry azureml, as they were published on 2026-07-23: facts only."""
TODAY = date(2026, 7, 31)
CHAT = {"tasks": {"fineTuningTasks": ["chat-completion"], "inferenceTasks": ["chat-completion"]}}
SIZES = {"SKU": {"finetuneMinSkuSpec": "24|1|220|64", "inferenceMinSkuSpec": "6|1|112|64"}}


def described(
    system_metadata: Any = None, tags: Any = None, properties: Any = None, spelling: str = "systemMetadata", **more: Any
) -> FoundationModel:
    """What is read of a registry's answer."""
    its = {"tags": tags, "properties": properties, spelling: system_metadata, "isArchived": False, **more}
    return read_model({"id": "azureml://registries/azureml/models/m/versions/1", "properties": its})


def published(name: str) -> FoundationModel:
    its = PUBLISHED[name]
    own = {"tags": its["tags"], "systemMetadata": its["system_metadata"], "isArchived": False}
    return read_model(
        {"id": f"azureml://registries/azureml/models/{name}/versions/{its['version']}", "properties": own}
    )


def refused(model: FoundationModel, *, serves: bool = True, today: date = TODAY) -> str | None:
    return tuning_refusal(model) or retirement_refusal(model, today, serves=serves)


def told(model: FoundationModel, *, serves: bool = True, today: date = TODAY) -> str:
    return "\n".join(warnings(model, today, serves=serves))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_fact_of_a_published_model_is_read(name: str) -> None:
    model, its = published(name), PUBLISHED[name]["system_metadata"]
    computes = its["supportedComputes"]
    assert (model.name, model.version) == (name, PUBLISHED[name]["version"])
    assert model.finetune_tasks == its["tasks"].get("fineTuningTasks", [])
    assert model.inference_tasks == its["tasks"]["inferenceTasks"]
    assert model.finetune_allow_list == computes.get("finetuneComputes")
    assert model.inference_allow_list == computes["inferenceComputes"]
    for minimum, said in (
        (model.finetune_minimum, its["SKU"].get("finetuneMinSkuSpec")),
        (model.inference_minimum, its["SKU"]["inferenceMinSkuSpec"]),
    ):
        parts = [str(round(part)) for part in minimum.model_dump().values()] if minimum else []
        assert "|".join(parts) == (said or "")
    assert model.defaults == PUBLISHED[name]["tags"].get("model_specific_defaults", {})
    assert {event: str(day) for event, day in model.dates.items()} == {
        event: written[:10] for event, written in its.get("deprecation", {}).items()
    }
    assert (model.archived, model.unreadable) == (False, [])


def test_of_the_published_models_phi_4_alone_can_be_used() -> None:
    assert [name for name in PUBLISHED if not refused(published(name))] == ["Phi-4"]
    assert told(published("Phi-4")) == ""
    assert len(published("Phi-4").finetune_allow_list or []) == 8
    assert published("Phi-4").defaults["learning_rate"] == "5e-6" and published("Phi-4").defaults["precision"] == 16


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Phi-3-small-8k-instruct", "Fine-tuning of Phi-3-small-8k-instruct version 6 was retired on 2025-08-30."),
        ("Llama-2-7b-chat", "Fine-tuning of Llama-2-7b-chat version 27 was retired on 2025-06-30."),
        ("bert-large-cased", "bert-large-cased version 21 cannot be fine-tuned for chat: of fine-tuning, its publisher offers it "
         "for text-classification, question-answering only."),
        ("ALLaM-2-7b-instruct", "ALLaM-2-7b-instruct version 3 cannot be fine-tuned for chat: of fine-tuning, its publisher offers "
         "none at all."),
    ],
)  # fmt: skip
def test_a_published_model_that_does_not_do_is_refused_by_name_and_date(name: str, sentence: str) -> None:
    assert str(refused(published(name))).startswith(sentence)


def test_what_can_no_longer_be_served_is_refused_where_it_would_be() -> None:
    model = described({**CHAT, "deprecation": {"inferenceRetirementDate": "2026-07-31T00:00:00.000000Z"}})
    assert "Inference of m version 1 was retired on 2026-07-31" in str(refused(model))
    assert refused(model, today=date(2026, 7, 30)) is None
    assert refused(model, serves=False) is None
    assert "Inference of m version 1 was retired on 2026-07-31; this run does not serve it." in told(
        model, serves=False
    )


@pytest.mark.parametrize(
    "answer", [{"isArchived": True}, {"stage": "Archived"}, {"tags": {"isArchived": "true"}}, {"properties": {"is_archived": True}}]
)  # fmt: skip
def test_an_archived_model_is_named_as_such_whoever_says_it(answer: dict[str, Any]) -> None:
    assert refused(described(CHAT, **answer)) == "m version 1 is archived: its publisher has withdrawn it."


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ("2026-10-29", "Fine-tuning of m version 1 will be retired from 2026-10-29 on, in 90 days"),
        ("2026-08-01", "in 1 days"),
        ("2026-10-30", ""),
    ],
)
def test_of_a_date_within_90_days_a_run_is_warned(on: str, said: str) -> None:
    model = described({**CHAT, **SIZES, "deprecation": {"finetuneRetirementDate": on}})
    assert refused(model) is None
    assert said in told(model) and bool(said) == bool(told(model))


def test_of_what_is_deprecated_a_run_is_warned() -> None:
    model = described({**CHAT, **SIZES, "deprecation": {"finetuneDeprecationDate": "2026-07-31"}})
    assert refused(model) is None
    assert told(model) == "Fine-tuning of m version 1 has been deprecated since 2026-07-31."


OF_2024: dict[str, Any] = {
    "tags": {
        "task": "chat-completion",
        "finetune_compute_allow_list": "['Standard_NC24ads_A100_v4', 'Standard_ND96asr_v4']",
        "inference_compute_allow_list": "Standard_NC6s_v3, Standard_NC12s_v3",
        "model_specific_defaults": "{'precision': 16, 'apply_lora': 'true'}",
        "finetuneRetirementDate": "2025-08-30",
    },
    "properties": {
        "finetuning-tasks": "text-generation, chat-completion",
        "finetune-min-sku-spec": "24|1|220|64",
        "inference-min-sku-spec": "6|1|112|64",
        "deprecation": "{'inferenceRetirementDate': '2025-09-30T00:00:00Z'}",
    },
}


def test_who_names_sizes_for_tuning_and_no_tasks_leaves_the_tasks_unknown() -> None:
    model = described({"tasks": {"inferenceTasks": ["chat-completion"]}, "SKU": {"finetuneMinSkuSpec": "24|1|220|64"}})
    assert refused(model) is None and "fine-tuned for chat is unknown" in told(model)


def test_the_places_and_spellings_of_2024_say_the_same() -> None:
    model = described(**OF_2024)
    assert (model.finetune_tasks, model.inference_tasks) == (
        ["text-generation", "chat-completion"],
        ["chat-completion"],
    )
    assert model.finetune_allow_list == ["Standard_NC24ads_A100_v4", "Standard_ND96asr_v4"]
    assert model.inference_allow_list == ["Standard_NC6s_v3", "Standard_NC12s_v3"]
    assert model.finetune_minimum and (model.finetune_minimum.cpus, model.finetune_minimum.memory) == (24, 220)
    assert model.inference_minimum and (model.inference_minimum.cpus, model.inference_minimum.disk) == (6, 64)
    assert model.defaults == {"precision": 16, "apply_lora": "true"}
    assert model.dates == {
        "finetuneRetirementDate": date(2025, 8, 30),
        "inferenceRetirementDate": date(2025, 9, 30),
    }
    assert model.unreadable == []


def test_todays_place_counts_where_both_say_something() -> None:
    today = {**CHAT, "supportedComputes": {"finetuneComputes": ["Standard_NC40ads_H100_v5"]}}
    model = described(today, **OF_2024)
    assert model.finetune_allow_list == ["Standard_NC40ads_H100_v5"]
    assert model.finetune_tasks == ["chat-completion"]
    assert model.inference_allow_list == ["Standard_NC6s_v3", "Standard_NC12s_v3"]


def test_the_names_may_be_written_with_underscores() -> None:
    snake = {
        "tasks": {"fine_tuning_tasks": ["chat-completion"]},
        "supported_computes": {"finetune_computes": ["Standard_ND96asr_v4"]},
        "sku": {"finetune_min_sku_spec": "24|1|220|64"},
        "deprecation": {"finetune_retirement_date": "2027-01-31"},
    }
    model = described(snake, spelling="system_metadata")
    assert model.finetune_tasks == ["chat-completion"] and model.finetune_allow_list == ["Standard_ND96asr_v4"]
    assert model.finetune_minimum and model.dates == {"finetuneRetirementDate": date(2027, 1, 31)}


@pytest.mark.parametrize(
    "written",
    [
        {"precision": 16, "apply_lora": "true"},
        "{'precision': 16, 'apply_lora': 'true'}",
        ' {"precision": 16, "apply_lora": "true"} ',
    ],
)
def test_a_publishers_defaults_are_a_mapping_or_its_string(written: object) -> None:
    assert described(tags={"model_specific_defaults": written}).defaults == {"precision": 16, "apply_lora": "true"}


def test_a_publishers_defaults_may_be_json_that_is_no_python() -> None:
    assert described(tags={"model_specific_defaults": '{"apply_lora": true}'}).defaults == {"apply_lora": True}


def test_a_long_value_that_cannot_be_read_is_told_by_its_beginning() -> None:
    [said] = described(CHAT, tags={"model_specific_defaults": "x" * 5000}).unreadable
    assert said.startswith('model_specific_defaults is "xxx') and len(said) < 120


def test_a_task_is_the_same_in_capitals() -> None:
    assert refused(described({"tasks": {"fineTuningTasks": ["Chat-Completion"]}})) is None


GROUPED = {
    "fineTuningTasks": "tasks",
    "finetuneComputes": "supportedComputes",
    "inferenceComputes": "supportedComputes",
    "finetuneMinSkuSpec": "SKU",
    "finetuneRetirementDate": "deprecation",
}


@pytest.mark.parametrize(
    "value", [None, [], "", 7, {"a": 1}, [None], ["Standard NC6", ""], "['half", "31/08/2025", "24|1|220", True]
)
@pytest.mark.parametrize("name", GROUPED)
def test_an_absurd_value_is_unknown_with_a_warning(name: str, value: object) -> None:
    metadata: dict[str, Any] = {"tasks": {"inferenceTasks": ["chat-completion"]}}
    metadata.setdefault(GROUPED[name], {})[name] = value
    model = described(metadata)
    read = {
        "fineTuningTasks": model.finetune_tasks,
        "finetuneComputes": model.finetune_allow_list,
        "inferenceComputes": model.inference_allow_list,
        "finetuneMinSkuSpec": model.finetune_minimum,
        "finetuneRetirementDate": model.dates.get("finetuneRetirementDate"),
    }
    assert read[name] is None
    assert f"cannot be read and does not count: {name} is " in told(model)


def test_what_is_nowhere_is_unknown_with_a_warning() -> None:
    model = described(isArchived=None)
    assert refused(model) is None
    said = told(model)
    for sentence in (
        "Whether m version 1 can be fine-tuned for chat is unknown",
        "Which VM sizes can fine-tune m version 1 is unknown",
        "Which VM sizes can serve m version 1 is unknown",
        "Whether m version 1 is archived is unknown",
    ):
        assert sentence in said
    assert "can serve" not in told(model, serves=False)


@pytest.mark.parametrize(
    "written", ["24|1|220", "a|b|c|d", "nan|1|220|64", "24|1|inf|64", "-1|1|220|64", 24, None, ["4|1|8|6"]]
)
def test_a_minimum_of_another_form_is_unknown(written: object) -> None:
    model = described({"SKU": {"finetuneMinSkuSpec": written}})
    assert model.finetune_minimum is None and len(model.unreadable) == 1


@pytest.mark.parametrize("written", ["soon", "2025-02-30", "0001-01-01T00:00:00", 20250830, "", None, ["2025-08-30"]])
def test_a_date_that_is_none_refuses_nothing_and_is_told(written: object) -> None:
    model = described({**CHAT, "deprecation": {"finetuneRetirementDate": written}})
    assert model.dates == {} and refused(model) is None
    assert f"finetuneRetirementDate is {json.dumps(written)}" in told(model)


@pytest.mark.parametrize(
    "written",
    ["import os", "[1]", 7, {"learning_rate": None}, {"learning_rate_min": "low"}, {"num_nodes_finetune": "two"}],
)
def test_defaults_that_cannot_be_read_are_none_and_told(written: object) -> None:
    model = described(CHAT, tags={"model_specific_defaults": written})
    assert model.defaults == {} and "model_specific_defaults is " in told(model)


@pytest.mark.parametrize("group", ["tasks", "supportedComputes", "SKU", "deprecation"])
def test_a_group_that_is_none_is_told(group: str) -> None:
    assert f"{group} is [1, 2]" in told(described({**CHAT, group: [1, 2]}))


TEXT = st.text(max_size=8) | st.sampled_from(
    ["{[]: 1}", "[[", "(", "1e999", "nan|1|1|1", "1e400|1|1|1", "{'a': 1e999}", "%s"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = [*GROUPED, *GROUPED.values(), "model_specific_defaults", "isArchived", "task", "inferenceMinSkuSpec"]
ANY_FACTS = ANYTHING | st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4)


@settings(max_examples=300, deadline=None)
@given(metadata=ANY_FACTS, tags=ANY_FACTS, own=ANYTHING)
@example(metadata={}, tags={"model_specific_defaults": {"num_nodes_finetune": float("inf")}}, own=None)
@example(metadata={}, tags={"deprecation": "{[]: 1}"}, own=None)
def test_whatever_a_registry_sends_is_read_or_told(metadata: Any, tags: Any, own: Any) -> None:
    model = described(metadata, tags, own, isArchived=own)
    assert isinstance(tuning_refusal(model), str | None)
    assert isinstance(told(model), str)
    assert FoundationModel.model_validate_json(model.model_dump_json()).dates == model.dates


NAMED = {"id": "azureml://registries/azureml/models/m/versions/1"}


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"id": "x", "properties": {"tags": {}}}, NAMED, {**NAMED, "properties": 1}]
)
def test_what_is_no_model_version_is_an_answer_that_broke_off(answer: Any) -> None:
    with pytest.raises(DecodeError):
        read_model(answer)
