"""Fifth child: packs the fine-tuned model as an MLflow model.

`python -m emulator.components.chat_completion.convert`, component `ft_nlp_model_converter`.
"""

import logging
import shutil
import tempfile
import time
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emulator.components.chat_completion import model_folder
from emulator.components.step import UserError, run

CODE = Path(__file__).with_name("chat_model.py")
REQUIREMENTS = ("mlflow-skinny", "pandas", "torch", "transformers")
ARTIFACT = "model"

logger = logging.getLogger(__name__)


def convert(arguments: Namespace) -> None:
    """Fills `mlflow_model_folder` with a model that `mlflow.pyfunc.load_model` loads.

    Raises:
        UserError: the input is no fine-tuned model.
    """
    started = time.monotonic()
    if not model_folder.hugging_face_folder(arguments.model_path):
        raise UserError(
            f"{arguments.model_path.name} holds no fine-tuned model. Give the fine-tune step's output folder."
        )
    metadata = model_folder.read_metadata(arguments.model_path)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
        weights = whole_model(arguments.model_path, Path(scratch), metadata)
        clear(arguments.mlflow_model_folder)
        write_mlflow_model(weights, arguments.mlflow_model_folder, metadata)
    logger.info(
        "MLflow model of %s in %s (%.1f s)",
        metadata.get("base_model_name", "an unnamed base"), arguments.mlflow_model_folder, time.monotonic() - started,
    )  # fmt: skip


def clear(folder: Path) -> None:
    """Empties `folder`: MLflow writes into an empty one only, and an earlier attempt may have been killed halfway."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def whole_model(folder: Path, scratch: Path, metadata: dict[str, Any]) -> Path:
    """The model as one Hugging Face folder: as it is, or with an adapter that was left beside it merged in."""
    adapter = folder / model_folder.ADAPTER
    if not adapter.is_dir():
        return folder
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    logger.info("Merging the adapter for serving")
    base = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=metadata.get("trust_remote_code", False)
    )
    merged = scratch / "merged"
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            merged.mkdir(exist_ok=True)
            shutil.copy(file, merged)
    PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().save_pretrained(merged)
    return merged


def write_mlflow_model(weights: Path, destination: Path, metadata: dict[str, Any]) -> None:
    """Writes the MLflow model around `weights`, which are linked rather than copied.

    MLflow copies artifacts; so it is given the small files, and the weights join them afterwards.
    """
    import mlflow

    files = [file for file in weights.iterdir() if file.is_file() and file.name != model_folder.METADATA]
    heavy = [file for file in files if file.suffix == ".safetensors"]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
        light = Path(scratch) / ARTIFACT
        light.mkdir()
        for file in files:
            if file not in heavy:
                model_folder.link_file(file, light / file.name)
        mlflow.pyfunc.save_model(
            str(destination),
            python_model=str(CODE),
            artifacts={ARTIFACT: str(light)},
            # A build's local suffix ("+cpu") is unknown to the package index.
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            metadata=_model_metadata(metadata),
            model_config={"trust_remote_code": metadata.get("trust_remote_code", False)},
        )
    for file in heavy:
        model_folder.link_file(file, destination / "artifacts" / ARTIFACT / file.name)
    forget_this_machine(destination)


def forget_this_machine(model: Path) -> None:
    """Takes out of MLmodel where things lay when it was written, and counts the weights into its size."""
    from mlflow.models import Model

    mlmodel = Model.load(str(model))
    flavor = mlmodel.flavors["python_function"]
    flavor["model_code_path"] = CODE.name
    flavor["artifacts"][ARTIFACT]["uri"] = flavor["artifacts"][ARTIFACT]["path"]
    mlmodel.model_size_bytes = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    mlmodel.save(str(model / "MLmodel"))


def _model_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    known = ("base_model_name", "base_model_asset_id", "license", "stand_in", "fine_tuning")
    return {
        "base_model_task": "chat-completion",
        "task": "chat-completion",
        "is_finetuned_model": True,
        **{name: metadata[name] for name in known if metadata.get(name) is not None},
    }


if __name__ == "__main__":
    run("ft_nlp_model_converter", convert)
