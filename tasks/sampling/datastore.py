"""Files of a data asset or a datastore path of the Azure ML workspace."""

import re
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.ranged import RangedFile
from tasks.sampling.tree import DataFile, Tree

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.storage.blob import ContainerClient

    from blocks.azure_ml_workspace import AzureMLWorkspace

ASSET = re.compile(r"azureml:(?P<name>[\w.-]+)(:(?P<version>[\w.-]+)|@(?P<label>[\w.-]+))\Z")
PATH = re.compile(r"azureml://(.*/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)\Z")


def datastore_tree(source: str, workspace: "AzureMLWorkspace | None") -> Tree:
    """The files below the path that `source` stands for, or the one that is there.

    Raises:
        SourceUnavailable: no such asset, datastore or path, or no right to read it.
    """
    if workspace is None:
        raise SourceUnavailable(f"{source} lies in a workspace, but the run has none. Give the workspace's block.")
    client = workspace.client()
    datastore, path = _location(source, client)
    container = _container(source, client, datastore)
    blobs = _blobs(source, container, path)
    is_file = any(blob.name == path for blob in blobs)
    root = path.rpartition("/")[0] + "/" if is_file else path.rstrip("/") + "/"
    files = [
        DataFile(
            name=blob.name.removeprefix(root),
            size=blob.size,
            open=partial(_open, container, blob.name, blob.size, blob.etag),
            remote=True,
            version=blob.etag,
        )
        for blob in blobs
    ]
    return Tree(source, files, chosen=is_file, folder=PurePosixPath(path).name)


def _location(source: str, client: "MLClient") -> tuple[str, str]:
    """Datastore and path."""
    from azure.core.exceptions import ResourceNotFoundError

    where = source
    if asset := ASSET.match(source):
        try:
            where = str(client.data.get(asset["name"], version=asset["version"], label=asset["label"]).path)
        except ResourceNotFoundError as error:
            raise SourceUnavailable(
                f"The workspace {client.workspace_name} has no data asset {source}. Check its name and version."
            ) from error
    if (parts := PATH.match(where)) is None:
        raise SourceUnavailable(
            f"{source} does not lead to a datastore of the workspace, but to {where}. Give azureml:NAME:VERSION, "
            "azureml:NAME@latest or azureml://datastores/NAME/paths/PATH."
        )
    return parts["datastore"], parts["path"]


def _container(source: str, client: "MLClient", datastore: str) -> "ContainerClient":
    # The SDK's own way to a datastore. `datastores.get(include_secrets=True)` fails where the account's key is exchanged
    # for a short-lived SAS, which is what Azure does by default.
    from azure.ai.ml._artifacts._artifact_utilities import get_datastore_info
    from azure.core.exceptions import ResourceNotFoundError
    from azure.storage.blob import ContainerClient

    try:
        info = get_datastore_info(client.datastores, datastore)
    except ResourceNotFoundError as error:
        raise SourceUnavailable(
            f"{source}: the workspace {client.workspace_name} has no datastore {datastore}."
        ) from error
    url = info["account_url"].replace(".dfs.", ".blob.")
    return ContainerClient(url, info["container_name"], credential=info["credential"])


def _blobs(source: str, container: "ContainerClient", path: str) -> list[Any]:
    """The blob at `path`, or all below it."""
    from azure.core.exceptions import HttpResponseError

    try:
        found = list(container.list_blobs(name_starts_with=path, include=["metadata"]))
    except HttpResponseError as error:
        if error.status_code not in (401, 403, 404):
            raise
        raise SourceUnavailable(
            f"{source} cannot be listed: {error.reason}. Check that the datastore's container is there, and that the run's "
            "identity has the role Storage Blob Data Reader."
        ) from error
    folder = path.rstrip("/") + "/" if path else ""
    folders = {str(above) for blob in found for above in PurePosixPath(blob.name).parents}
    found = [
        blob
        for blob in found
        if (blob.name == path or blob.name.startswith(folder)) and not marks_a_folder(blob, folders)
    ]
    if not found:
        raise SourceUnavailable(f"{source} holds no data: there is nothing at that path. Check it.")
    return found


def marks_a_folder(blob: Any, folders: set[str]) -> bool:
    """Whether it is one of the empty blobs by which accounts with hierarchical names, and tools, keep folders."""
    marked = (blob.metadata or {}).get("hdi_isfolder") == "true"
    return not blob.size and (marked or blob.name.endswith("/") or blob.name in folders)


def _open(container: "ContainerClient", name: str, size: int, etag: str) -> RangedFile:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    blob = container.get_blob_client(name)
    quoted = f'"{etag.strip(chr(34))}"'  # A listing gives it bare, a condition wants it in quotes.

    def fetch(start: int, end: int) -> bytes:
        try:
            stream = blob.download_blob(start, end - start, etag=quoted, match_condition=MatchConditions.IfNotModified)
            return bytes(stream.readall())
        except ResourceModifiedError as error:
            raise SourceUnavailable(f"{name} was changed while it was sampled. Run again.") from error

    return RangedFile(size, fetch)
