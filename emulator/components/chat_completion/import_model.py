"""Second child: turns whatever the model input is into one plain Hugging Face folder.

`python -m emulator.components.chat_completion.import_model`, component `chat_completion_model_import`. Conversions
(GGUF to safetensors; a stand-in made from its recipe) are done once a machine and kept in the emulator's cache.
"""

import hashlib
import json
import logging
import os
import time
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from emulator.components.chat_completion import model_folder
from emulator.components.step import UserError, run

MODEL = "model"

logger = logging.getLogger(__name__)


def import_model(arguments: Namespace) -> None:
    """Fills `output_dir` with `model/` (Hugging Face folder) and what is known of the base model.

    Raises:
        UserError: no model was given, or the folder holds nothing that can be trained.
    """
    source = arguments.pytorch_model_path or arguments.mlflow_model_path
    if source:
        metadata = {"base_model_name": source.name, **model_folder.mlflow_metadata(source)}
        weights = weights_in(source, arguments.trust_remote_code)
    elif arguments.huggingface_id:
        metadata = {"base_model_name": arguments.huggingface_id}
        weights = download(arguments.huggingface_id)
    else:
        raise UserError("There is no model. Give mlflow_model_path, pytorch_model_path or huggingface_id.")
    if note := metadata.get("stand_in"):
        logger.warning("STAND-IN: %s", note)
    destination = arguments.output_dir / MODEL
    model_folder.link_tree(weights, destination, leave_out="checkpoint-*")
    if arguments.finetune_config_path:
        logger.warning("finetune_config_path is not read: answers are found by the model's own chat template.")
    metadata["trust_remote_code"] = arguments.trust_remote_code
    model_folder.write_metadata(arguments.output_dir, metadata)
    size = sum(file.stat().st_size for file in destination.rglob("*") if file.is_file())
    logger.info("Model %s: %.1f MB in %s", metadata["base_model_name"], size / 1e6, destination)


def weights_in(folder: Path, trust_remote_code: bool = False) -> Path:
    """The Hugging Face folder for a model input, made from a GGUF file or a recipe where it has to be.

    Raises:
        UserError: the folder holds none of the three.
    """
    if not folder.is_dir():
        raise UserError(f"The model folder {folder} does not exist. Check the model input.")
    if found := model_folder.hugging_face_folder(folder):
        return found
    if recipe := next(iter(sorted(folder.rglob(model_folder.STAND_IN_RECIPE))), None):
        return _stand_in(json.loads(recipe.read_text("utf-8")))
    if gguf := model_folder.gguf_file(folder):
        return _dequantized(gguf, trust_remote_code)
    raise UserError(
        f"The model folder {folder.name} holds neither a Hugging Face model (config.json and *.safetensors) nor a GGUF "
        f"file. It holds: {', '.join(sorted(path.name for path in folder.iterdir())) or 'nothing'}."
    )


def download(huggingface_id: str) -> Path:
    """Fetches a model from the Hugging Face hub into its own cache.

    Raises:
        UserError: the hub cannot be reached or has no such model.
    """
    os.environ["HF_HUB_OFFLINE"] = "0"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(huggingface_id, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"The Hugging Face model {huggingface_id!r} could not be fetched ({error}). Check its name and this "
            "machine's way to the hub, or give mlflow_model_path instead."
        ) from error


def cache_folder() -> Path:
    """Where conversions are kept: `$AZUREML_EMULATOR_CACHE`, by default `~/.cache/azureml-emulator`."""
    return Path(os.environ.get("AZUREML_EMULATOR_CACHE") or Path.home() / ".cache" / "azureml-emulator") / "models"


def _stand_in(recipe: dict[str, Any]) -> Path:
    from emulator.components.foundation.stand_in import Recipe, build

    parsed = Recipe.from_document(recipe)
    folder = cache_folder() / f"stand-in-{parsed.fingerprint()}"
    with model_folder.made_once(folder) as scratch:
        if scratch:
            started = time.monotonic()
            build(parsed, scratch)
            logger.info("Made the stand-in from its recipe in %.1f s; kept in %s", time.monotonic() - started, folder)
    return folder


def _dequantized(gguf: Path, trust_remote_code: bool) -> Path:
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A converter that reads GGUF differently makes another folder.
    folder = cache_folder() / f"{gguf.stem}-{digest[:16]}-transformers-{version('transformers')}"
    with model_folder.made_once(folder) as scratch:
        if scratch:
            started = time.monotonic()
            logger.info("Converting %s (%.1f MB) to safetensors, once", gguf.name, gguf.stat().st_size / 1e6)
            _dequantize(gguf, scratch, trust_remote_code)
            logger.info("Converted in %.1f s; kept in %s", time.monotonic() - started, folder)
    return folder


def _dequantize(gguf: Path, destination: Path, trust_remote_code: bool) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    place: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **place)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        dtype=torch.float32,
        # Without it the loaded model still counts as quantized and refuses to be saved.
        quantization_config=GgufConfig(dequantize=True),
        **place,
    )
    tokenizer.save_pretrained(destination)
    model.save_pretrained(destination)


if __name__ == "__main__":
    run("chat_completion_model_import", import_model)
