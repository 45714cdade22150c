"""Folders of model files: finding the weights in one, and handing them on without copying them."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

# Where a Hugging Face folder may lie inside an MLflow model: the hftransformers flavour, pyfunc artifacts, transformers.
WEIGHT_FOLDERS = (".", "data/model", "artifacts/model", "model")
STAND_IN_RECIPE = "stand_in.json"
METADATA = "model_metadata.json"
# An adapter that was not merged lies beside its base model.
ADAPTER = "adapter"


def hugging_face_folder(folder: Path) -> Path | None:
    """The folder in or under `folder` that transformers can load, if there is one."""
    for candidate in (folder / name for name in WEIGHT_FOLDERS):
        if (candidate / "config.json").is_file() and any(candidate.glob("*.safetensors")):
            return candidate
    return None


def gguf_file(folder: Path) -> Path | None:
    """The first GGUF file in or under `folder`."""
    return next(iter(sorted(folder.rglob("*.gguf"))), None)


def mlflow_metadata(folder: Path) -> dict[str, Any]:
    """The `metadata` of the folder's MLmodel file; empty without one."""
    file = folder / "MLmodel"
    return (yaml.safe_load(file.read_text("utf-8")) or {}).get("metadata") or {} if file.is_file() else {}


def read_metadata(folder: Path) -> dict[str, Any]:
    """What is known of the base model, as a step before this one wrote it."""
    file = folder / METADATA
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Hands on what is known of the base model: name, asset id, licence, whether it is a stand-in."""
    (folder / METADATA).write_text(json.dumps(metadata, indent=2), "utf-8")


def link_tree(source: Path, destination: Path, leave_out: str = "") -> None:
    """Makes `destination` hold the files of `source`: by hard links where the file system allows, else by copies.

    Names that match the pattern `leave_out` stay behind.
    """
    ignore = shutil.ignore_patterns(leave_out)
    shutil.copytree(source, destination, copy_function=link_file, dirs_exist_ok=True, ignore=ignore)


def link_file(source: str | Path, destination: str | Path) -> None:
    """Hard-links one file, or copies it across file systems. Replaces what is there."""
    real = os.path.realpath(source)
    Path(destination).unlink(missing_ok=True)
    try:
        os.link(real, destination)
    except OSError:
        shutil.copyfile(real, destination)


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Lets one process of many make `folder`; yields a scratch folder to fill, or None where it is there already.

    The scratch folder becomes `folder` in one rename when the block ends well. Others wait for it. The lock is the
    operating system's, so that it dies with its holder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        if folder.is_dir():
            yield None
            return
        scratch = folder.parent / f"{folder.name}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        yield scratch
        scratch.rename(folder)
