"""From what is given for an input to what a step gets: a literal, or a local path."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from emulator.engine.components import AssetSource
from emulator.engine.failure import RunFailed, user_error
from emulator.engine.places import Places
from emulator.engine.runs import Runs

JOB_OUTPUT = re.compile(r"\Aazureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/(?:paths/)?(?P<rest>.*))?\Z")
REGISTRY_MODEL = re.compile(
    r"\Aazureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z"
)
ASSET = re.compile(
    r"\A(?:azureml:)?/subscriptions/.+/(?P<kind>data|models|codes)/(?P<name>[^/]+)/versions/(?P<version>[^/]+)\Z",
    re.IGNORECASE,
)
SHORT = re.compile(r"\A(?:azureml:)(?P<name>[^/:]+):(?P<version>[^/:]+)\Z")
URI_KEYS = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}


@dataclass(frozen=True)
class Literal:
    """A value as a command line gets it."""

    text: str


@dataclass(frozen=True)
class Asset:
    """A file or folder."""

    path: Path


Value = Literal | Asset


class ModelSource(Protocol):
    """A registry's models."""

    def model_folder(self, name: str, version: str) -> Path: ...


class Inputs:
    """Resolves the URIs that Azure ML accepts for inputs."""

    def __init__(self, places: Places, assets: AssetSource, registry: ModelSource, runs: Runs) -> None:
        self._places = places
        self._assets = assets
        self._registry = registry
        self._runs = runs

    async def resolve(self, uri: str) -> Asset:
        """The file or folder that `uri` names.

        Raises:
            RunFailed: it names nothing, or something that can't be read here.
        """
        path = await self._path(uri, 0)
        if not path.exists():
            raise user_error(
                f"The input {uri.split('?')[0][:300]} does not exist: there is no such file or folder in its datastore."
            )
        return Asset(path)

    async def _path(self, uri: str, depth: int) -> Path:
        if found := REGISTRY_MODEL.match(uri):
            return await self._registry_model(found["name"], found["version"])
        if found := JOB_OUTPUT.match(uri):
            return self._job_output(found["job"], found["output"], found["rest"])
        if (path := self._places.datastore_path(uri)) is not None:
            return path
        if found := ASSET.match(uri) or SHORT.match(uri):
            target = self._asset_uri(found)
            if depth < 3:
                return await self._path(target, depth + 1)
        if uri.startswith(("http://", "https://", "wasbs://", "abfss://", "adl://")):
            raise user_error(
                f"The input {uri.split('?')[0][:200]} lies outside of this workspace's storage account; upload it and "
                "use its azureml:// path."
            )
        raise user_error(f"The input '{uri[:200]}' is no URI or asset id that can be read.")

    async def _registry_model(self, name: str, version: str) -> Path:
        try:
            return await asyncio.to_thread(self._registry.model_folder, name, version)
        except KeyError:
            raise user_error(f"Model {name}:{version} not found in the registry.") from None
        except RunFailed:
            raise
        except Exception as problem:  # its weights are not on this machine: the message says how to get them
            raise user_error(f"Model {name}:{version} of the registry can't be used: {problem}") from problem

    def _job_output(self, job: str, output: str, rest: str | None) -> Path:
        run = self._runs.find(job)
        kept = run.outputs.get(output) if run else None
        if kept is None:
            raise user_error(f"Output '{output}' of job {job} does not exist.")
        path = self._places.output_path(kept["path"])
        return self._places.output_path(f"{kept['path']}/{rest}") if rest else path

    def _asset_uri(self, found: re.Match[str]) -> str:
        name, version = found["name"], found["version"]
        kinds = [found["kind"].lower()] if "kind" in found.re.groupindex else ["data", "models"]
        for kind in kinds:
            document = self._assets.find(kind, name, version)
            uri = document["properties"].get(URI_KEYS[kind]) if document else None
            if uri:
                return str(uri)
        raise user_error(f"Asset {name}:{version} not found among the workspace's {' and '.join(kinds)}.")
