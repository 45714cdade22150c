"""What the system registry holds: its own models and components, and models that the user imported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from emulator.installation import Installation
from emulator.names import NAMES

NAME = "azureml"
IMPORTED = "model.json"


@dataclass(frozen=True)
class RegistryModel:
    """One model version, as the registry's documents need it."""

    name: str
    version: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    system_metadata: dict[str, Any] = field(default_factory=dict)
    """What the publisher says of it, as Azure keeps it since the summer of 2026."""
    is_archived: bool = False

    @property
    def id(self) -> str:
        """The registry's asset id."""
        return f"azureml://registries/{NAME}/models/{self.name}/versions/{self.version}"


class ModelImportError(Exception):
    """The folder can't become a registry model; the message says why and what to do."""


class Catalog:
    """The system registry of one installation, on the day that `today` tells. Imported models live in its state folder and are seen
    at once."""

    def __init__(self, installation: Installation, today: Callable[[], date]) -> None:
        self._folder = installation.state / "registry" / "models"
        self._today = today

    def models(self) -> list[RegistryModel]:
        """Every model version, the system's first, each name's newest last."""
        from emulator.components.foundation import system_models

        today = self._today()
        built_in = [
            RegistryModel(
                m.name, m.version, m.description, m.tags, m.properties, m.system_metadata, m.is_archived(today)
            )
            for m in system_models()
        ]
        imported = [
            RegistryModel(**json.loads(path.read_text())) for path in sorted(self._folder.glob(f"*/*/{IMPORTED}"))
        ]
        return built_in + sorted(imported, key=lambda model: (model.name, int(model.version)))

    def model(self, name: str, version: str) -> RegistryModel | None:
        """The model version, or None."""
        return next((m for m in self.models() if m.name.lower() == name.lower() and m.version == version), None)

    def model_folder(self, name: str, version: str) -> Path:
        """The folder with the version's files, which a job's input of it becomes; written at the first call.

        Raises:
            KeyError: there is no such model.
            ModelUnavailable: its weights are not installed; the message holds the command that does it.
        """
        from emulator.components.foundation import write_model_folder

        found = self.model(name, version)
        if found is None:
            raise KeyError(f"the registry {NAME} holds no model {name}:{version}")
        folder = self._folder / found.name / found.version
        return folder if (folder / IMPORTED).exists() else write_model_folder(found.name, folder)

    def component(self, name: str, version: str) -> dict[str, Any] | None:
        """The component's YAML document, or None."""
        for document in self.components():
            if document["name"] == name and str(document["version"]) == version:
                return document
        return None

    def components(self) -> list[dict[str, Any]]:
        """The YAML documents of every component."""
        from emulator.components.catalog import system_components

        return [component.document for component in system_components()]

    def import_model(self, source: Path, name: str) -> RegistryModel:
        """Copies a Hugging Face model folder into the registry as the next version of `name`.

        Raises:
            ModelImportError: `source` is no such folder, or the name is not allowed.
        """
        from emulator.components.foundation import chat_metadata

        if not NAMES["registries/models"].takes(name):
            raise ModelImportError(NAMES["registries/models"].refusal(name))
        missing = [file for file in ("config.json", "tokenizer_config.json") if not (source / file).is_file()]
        if missing or not any(source.glob("*.safetensors")):
            wanted = ", ".join(missing) or "*.safetensors"
            raise ModelImportError(f"{source} is no Hugging Face model folder: it holds no {wanted}.")
        versions = [int(m.version) for m in self.models() if m.name.lower() == name.lower()]
        model = RegistryModel(
            name,
            str(max(versions, default=0) + 1),
            f"Imported from the folder {source.name}.",
            system_metadata=chat_metadata(),
        )
        self._copy(source, model)
        return model

    def _copy(self, source: Path, model: RegistryModel) -> None:
        from emulator.components.foundation import write_mlmodel

        folder = self._folder / model.name / model.version
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial / "data" / "model")
        write_mlmodel(partial, model.name, model.id)
        (partial / IMPORTED).write_text(json.dumps(asdict(model)))
        partial.replace(folder)
