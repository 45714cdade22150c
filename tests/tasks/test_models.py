"""What publishers say about their models, in every way they write it."""

from datetime import date
from typing import Any

import pytest
from azure.ai.ml.entities import Model

from tasks.models import FoundationModel, describe, literal_mapping, why_unusable

TODAY = date(2026, 11, 24)


def described(
    tags: dict[str, str] | None = None, properties: dict[str, str] | None = None, **more: Any
) -> FoundationModel:
    model = Model(name="m", version="1", path="azureml://x", tags=tags or {}, properties=properties or {}, **more)
    return describe(model)


def test_an_allow_list_is_a_literal_in_a_tag() -> None:
    model = described({"finetune_compute_allow_list": "['Standard_NC24ads_A100_v4', 'Standard_ND96asr_v4']"})
    assert model.finetune_allow_list == ["Standard_NC24ads_A100_v4", "Standard_ND96asr_v4"]
    assert model.inference_allow_list is None


def test_a_minimum_specification_is_a_property() -> None:
    model = described(properties={"finetune-min-sku-spec": "24|1|220|64", "inference-min-sku-spec": "nonsense"})
    assert model.finetune_minimum is not None
    assert model.finetune_minimum.memory == 220
    assert model.inference_minimum is None


@pytest.mark.parametrize("text", ["{'precision': 16, 'apply_lora': 'true'}", '{"precision": 16, "apply_lora": "true"}'])
def test_model_defaults_are_a_python_literal_or_json(text: str) -> None:
    assert described({"model_specific_defaults": text}).defaults == {"precision": 16, "apply_lora": "true"}


def test_defaults_that_are_no_mapping_are_none_at_all() -> None:
    assert literal_mapping("import os") == {}
    assert literal_mapping(None) == {}


@pytest.mark.parametrize("place", ["tags", "properties", "system_metadata"])
def test_a_retirement_date_is_found_wherever_it_is(place: str) -> None:
    model = described(**{place: {"finetuneRetirementDate": "2025-08-30"}})
    sentence = why_unusable(model, TODAY)
    assert sentence is not None
    assert "retired on 2025-08-30" in sentence


def test_dates_may_be_grouped_under_deprecation() -> None:
    model = described(properties={"deprecation": "{'finetuneRetirementDate': '2025-08-30T00:00:00Z'}"})
    assert why_unusable(model, TODAY)


def test_a_retirement_that_is_still_to_come_stops_nothing() -> None:
    assert why_unusable(described({"finetuneRetirementDate": "2027-01-01"}), TODAY) is None


def test_an_archived_model_is_named_as_such() -> None:
    sentence = why_unusable(described({"isArchived": "true"}), TODAY)
    assert sentence is not None
    assert "archived" in sentence
