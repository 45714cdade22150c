"""The sample's files as data assets of the workspace, each version named by its content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.sampling.errors import DatasetError
from tasks.sampling.results import SampledDataset, SampledSplit

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

VERSION_DIGITS = 20
"""Of the SHA-256. Azure ML takes versions of up to 30 characters (Azure/azureml-assets 295)."""

DATASET_CHARACTERS = 200
"""Azure ML takes names of up to 255 characters; what the file is for follows the dataset."""


def register_data_assets(client: MLClient, sampled: SampledDataset) -> dict[str, str]:
    """Uploads and registers each file of the sample that the workspace does not have yet.

    Returns:
        By purpose, what a job's input takes as its path: `azureml:NAME:VERSION`.

    Raises:
        azure.core.exceptions.HttpResponseError: the workspace or its storage refuses.
        DatasetError: a file is not what was sampled any more.
    """
    return {purpose: _register(client, sampled, purpose, split) for purpose, split in sampled.splits().items()}


def _register(client: MLClient, sampled: SampledDataset, purpose: str, split: SampledSplit) -> str:
    from azure.ai.ml.entities import Data
    from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

    from tasks.sampling.writer import file_sha256

    name = _name(sampled.source, split.path.stem)
    version = split.sha256[:VERSION_DIGITS]
    try:
        client.data.get(name, version=version)
    except ResourceNotFoundError:
        if file_sha256(split.path) != split.sha256:
            raise DatasetError(
                f"{split.path} was changed after it was sampled, so it is not registered under its hash. Run again."
            ) from None
        tags = {
            "source": sampled.source,
            "revision": sampled.revision,
            "split": split.split,
            "purpose": purpose,
            "rows": str(split.rows),
            "sha256": split.sha256,
        }
        asset = Data(
            name=name,
            version=version,
            type="uri_file",
            path=str(split.path),
            tags=tags,
            description=f"{split.rows} of {split.source_rows} conversations of {split.split} of {sampled.source}, for {purpose}.",
        )
        try:
            client.data.create_or_update(asset)
        except ResourceExistsError:
            # The answer to the upload got lost, and storage's client has tried again. Azure ML's looks first.
            client.data.create_or_update(asset)
    return f"azureml:{name}:{version}"


def _name(source: str, file: str) -> str:
    dataset = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(source.rstrip("/")).name.removeprefix("azureml:")).strip("-_")
    return f"{dataset[:DATASET_CHARACTERS] or 'dataset'}-{file}"
