"""Writes a system model as the folder that a registry model version is: an MLmodel file, weights or a recipe, a tokenizer."""

import json
from pathlib import Path
from typing import Any

import yaml

from emulator.components.foundation.catalog import system_model
from emulator.components.foundation.gguf_package import GgufPackage, ModelUnavailable
from emulator.components.foundation.stand_in import Recipe

WEIGHTS, TOKENIZER = "data/model", "data/tokenizer"

__all__ = ["ModelUnavailable", "write_mlmodel", "write_model_folder"]


def write_model_folder(name: str, destination: Path) -> Path:
    """Writes the newest version of the system model `name` into `destination` (made if absent), in milliseconds; at first in 2 s.

    Weights are linked, not copied.

    Raises:
        KeyError: there is no such system model.
        ModelUnavailable: its weights are not installed; the message holds the command that does it.
    """
    model = system_model(name)
    weights = destination / WEIGHTS
    weights.mkdir(parents=True, exist_ok=True)
    match model.source:
        case GgufPackage() as package:
            file = package.locate()
            link = weights / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file)
        case Recipe() as recipe:
            (weights / "stand_in.json").write_text(json.dumps(recipe.to_document(), indent=2), "utf-8")
    folder = destination / TOKENIZER
    if not folder.exists():  # a client may be reading it
        tokenizer, context = model.source.tokenizer()
        folder.mkdir()
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": context}), "utf-8")
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), "utf-8")
    write_mlmodel(destination, model.name, model.id, license=model.license, stand_in=model.stand_in_note)
    return destination


def write_mlmodel(
    folder: Path, name: str, asset_id: str, *, license: str | None = None, stand_in: str | None = None
) -> None:
    """Writes the MLmodel file of a chat model whose weights lie in `folder` under `data/model`.

    Args:
        name: the model's name, which the fine-tuned model will carry as its base.
        asset_id: the registry's or workspace's id of the model version.
        stand_in: for a model that is not what its name says, the sentence that says so.
    """
    metadata: dict[str, Any] = {
        "base_model_name": name,
        "base_model_asset_id": asset_id,
        "base_model_task": "chat-completion",
        "is_finetuned_model": False,
    }
    metadata |= {key: value for key, value in {"license": license, "stand_in": stand_in}.items() if value}
    document = {
        "flavors": {
            "hftransformersv2": {
                "model_data": WEIGHTS,
                "task_type": "chat-completion",
                "hf_pretrained_class": "AutoModelForCausalLM",
            }
        },
        "metadata": metadata,
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
