"""The system registry: foundation models, the fine-tuning pipeline, and models that the user brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.emulated import Emulator, command_line


@pytest.fixture
def registry(emulator: Emulator) -> Any:
    from azure.ai.ml import MLClient

    return MLClient(emulator.credential(), registry_name="azureml", enable_telemetry=False)


def test_models_say_what_they_are(registry: Any) -> None:
    stand_in = registry.models.get("Phi-3-mini-4k-instruct", label="latest")
    assert stand_in.id == f"azureml://registries/azureml/models/Phi-3-mini-4k-instruct/versions/{stand_in.version}"
    assert stand_in.tags["stand_in"] == "true" and "NOT Microsoft's" in stand_in.description
    assert "stand_in" not in registry.models.get("SmolLM2-135M-Instruct", label="latest").tags


def test_a_models_facts_are_sent_where_azure_has_them(registry: Any) -> None:
    from azure.ai.ml._utils._registry_utils import get_registry_versioned_asset

    def sent(name: str, version: str) -> Any:
        models = registry.models
        group = models._resource_group_name
        answer = get_registry_versioned_asset(
            models._registry_service_client, "models", name, version, group, "azureml"
        )
        return answer["properties"]

    for name, version in (("Phi-3-mini-4k-instruct", "15"), ("SmolLM2-135M-Instruct", "1")):
        today = sent(name, version)
        assert today["systemMetadata"]["tasks"]["fineTuningTasks"] == ["chat-completion"]
        assert today["systemMetadata"]["SKU"]["inferenceMinSkuSpec"] == "6|1|112|64"
        assert set(today["tags"]) <= {"model_specific_defaults", "stand_in"} and today["properties"] == {}
    before = sent("Phi-2-chat", "3")
    assert before["systemMetadata"] == {} and before["isArchived"] is True
    assert before["properties"]["finetuning-tasks"] == "chat-completion"
    assert before["tags"]["finetuneRetirementDate"] == "2024-08-30"


def test_the_pipeline_has_the_real_components_inputs(registry: Any) -> None:
    pipeline = registry.components.get("chat_completion_pipeline", label="latest")
    assert pipeline.inputs["learning_rate"].default == pytest.approx(2e-5)
    assert pipeline.inputs["deepspeed_stage"].enum == ["2", "3"]
    assert pipeline.inputs["number_of_gpu_to_use_finetuning"].type == "integer"
    assert set(pipeline.outputs) == {"pytorch_model_folder", "mlflow_model_folder"}
    with pytest.raises(Exception, match="learning_rate_min"):
        pipeline(learning_rate_min=1e-6)


def test_an_unknown_model_or_registry_is_refused(emulator: Emulator, registry: Any) -> None:
    from azure.ai.ml import MLClient

    with pytest.raises(ResourceNotFoundError):
        registry.models.get("no-such-model", version="1")
    with pytest.raises(HttpResponseError) as refused:
        MLClient(emulator.credential(), registry_name="someone-elses")
    assert refused.value.status_code == 403


def test_a_model_folder_is_imported_and_seen_at_once(emulator: Emulator, registry: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    for version in ("1", "2"):
        said = command_line("import-model", str(folder), "--name", "my-model", "--state", str(emulator.state)).stdout
        assert f"models/my-model/versions/{version}" in said
    assert registry.models.get("my-model", label="latest").version == "2"
    saved = json.loads((emulator.state / "registry/models/my-model/1/model.json").read_text())
    assert saved["name"] == "my-model" and saved["system_metadata"]["tasks"]["fineTuningTasks"] == ["chat-completion"]


def test_a_models_files_are_downloaded_from_a_container_of_its_own(
    emulator: Emulator, registry: Any, tmp_path: Path
) -> None:
    from azure.ai.ml._utils._registry_utils import get_storage_details_for_registry_assets

    model = registry.models.get("Phi-3-mini-4k-instruct", label="latest")
    registry.models.download(model.name, model.version, tmp_path)
    found = {str(path.relative_to(tmp_path / model.name)) for path in tmp_path.rglob("*.*")}
    assert found == {
        f"mlflow_model_folder/data/{name}.json"
        for name in ("model/stand_in", "tokenizer/tokenizer", "tokenizer/tokenizer_config")
    }
    assert (tmp_path / model.name / "mlflow_model_folder" / "MLmodel").is_file()
    other = registry.models.get("SmolLM2-135M-Instruct", label="latest")
    assert model.path.rpartition("/")[0] != other.path.rpartition("/")[0]
    models = registry.models
    with pytest.raises(HttpResponseError, match="no-such-model:1 not found"):
        get_storage_details_for_registry_assets(
            models._registry_service_client, "models", "no-such-model", "1", models._resource_group_name, "azureml", ""
        )


@pytest.mark.parametrize("name", ["my-model", "../escape"])
def test_a_folder_that_is_no_model_is_refused(emulator: Emulator, tmp_path: Path, name: str) -> None:
    refused = command_line("import-model", str(tmp_path), "--name", name, "--state", str(emulator.state), check=False)
    assert refused.returncode == 1
    said = {"my-model": "is no Hugging Face model folder", "../escape": "Model name '../escape' is invalid"}[name]
    assert said in refused.stderr and "Traceback" not in refused.stderr
