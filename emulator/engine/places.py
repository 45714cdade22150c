"""Where a run's files are: blobs that are plain files, and a private folder for its process."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from hashlib import sha256
from pathlib import Path

from emulator.arm.uris import DEFAULT_DATASTORE, Uris, split
from emulator.blob.containers import SEGMENT_LIMIT, Containers
from emulator.engine.definitions import FILE_TYPES, OutputPort
from emulator.engine.failure import user_error
from emulator.engine.runs import Run
from emulator.errors import AzureError
from emulator.installation import Installation

ARTIFACTS = "azureml"  # the container of logs and artifacts
STEP_LOG = "user_logs/std_log.txt"
PIPELINE_LOG = "logs/azureml/executionlogs.txt"


class Places:
    """Paths and URIs of one installation's runs."""

    def __init__(self, installation: Installation, containers: Containers, uris: Uris) -> None:
        self._runs = installation.state / "runs"
        self._containers = containers
        self._uris = uris
        self._stores = {DEFAULT_DATASTORE: containers.default, "workspaceartifactstore": ARTIFACTS}
        self._account = f"https://{installation.blob_host}/"

    # -------------------------------------------------------------------------------------------------------- runs

    def private(self, run: Run) -> Path:
        """The folder with a step's scratch folder and the files by which its process is followed."""
        return self._runs / run.id

    def log(self, run_id: str, name: str) -> Path:
        """A log file of a run; its folder exists."""
        path = self._containers.locate(ARTIFACTS, f"{artifacts(run_id)}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def artifacts(self, run_id: str) -> Path:
        """The folder of a run's logs and artifacts; it need not exist."""
        return self._containers.locate(ARTIFACTS, artifacts(run_id))

    def forget(self, run: Run) -> None:
        """Deletes what the run's process and logs left. Outputs stay, as on Azure: models may have been made of them."""
        for folder in (self.private(run), self.artifacts(run.id)):
            shutil.rmtree(folder, ignore_errors=True)

    # ----------------------------------------------------------------------------------------------------- outputs

    def output(self, run: Run, name: str, type: str) -> tuple[Path, str]:
        """The path and the blob path of an output."""
        # A client looks for an output under its name and a slash, so that a file too has a folder of its own.
        blob = f"azureml/{run.id}/{name}" + (f"/{name}" if type in FILE_TYPES else "")
        return self.output_path(blob), blob

    def make_output(self, run: Run, name: str, port: OutputPort) -> Path:
        """The path of an output, for a step to write: a folder that exists, or a file whose folder does. What an earlier attempt
        of the step has written is still there, and at a place of the user's also what another job has.

        Raises:
            RunFailed: the user's URI is of no datastore.
        """
        mounted = port.uri is not None and not port.uploaded
        path = self._wanted(str(port.uri)) if mounted else self.output(run, name, port.type)[0]
        (path.parent if port.type in FILE_TYPES else path).mkdir(parents=True, exist_ok=True)
        return path

    def keep_output(self, run: Run, name: str, port: OutputPort) -> str | None:
        """Makes what a step has written the run's output, and puts it where the user wants it too; returns its blob path, None
        when nothing was written.

        Raises:
            RunFailed: the user's URI is of no datastore.
        """
        path, blob = self.output(run, name, port.type)
        wanted = None if port.uri is None else self._wanted(port.uri)
        if wanted is not None and not port.uploaded and wanted.exists():
            share(wanted, path)
        if not path.exists():
            return None
        if wanted is not None and port.uploaded:
            share(path, wanted)
        return blob

    def output_path(self, blob: str) -> Path:
        """The path of an output's blob path."""
        return self._containers.locate(self._containers.default, blob)

    def output_uri(self, blob: str, type: str) -> str:
        """The full `azureml://` URI of an output's blob path."""
        return self._uris.full(DEFAULT_DATASTORE, blob if type in FILE_TYPES else f"{blob}/")

    # -------------------------------------------------------------------------------------------------------- URIs

    def datastore_path(self, uri: str) -> Path | None:
        """The path behind a datastore's URI or an address of this account's blobs; None for any other URI.

        Raises:
            RunFailed: there is no such datastore or container, or the path leaves it.
        """
        if found := split(uri):
            container = self._stores.get(found[0])
            if container is None:
                raise user_error(f"Datastore {found[0]} not found; {uri[:200]} can't be read.")
            return self._locate(container, found[1], uri)
        if uri.startswith(self._account):
            container, _, blob = uri.removeprefix(self._account).split("?")[0].partition("/")
            return self._locate(container, blob, uri)
        return None

    def _wanted(self, uri: str) -> Path:
        path = self.datastore_path(uri)
        if path is None:
            raise user_error(
                f"An output can't be written to {uri[:200]}; use azureml://datastores/{DEFAULT_DATASTORE}/paths/..."
            )
        return path

    def _locate(self, container: str, blob: str, uri: str) -> Path:
        try:
            return self._containers.locate(container, blob)
        except AzureError as refusal:
            raise user_error(f"The path of {uri.split('?')[0][:200]} can't be read: {refusal}") from None


def artifacts(run_id: str) -> str:
    """Where a run's logs and artifacts are: a blob path in the artifact container."""
    return f"ExperimentRun/{data_container(run_id)}"


def data_container(run_id: str) -> str:
    """What Azure calls the place of a run's logs and artifacts. A job's name may be as long as a file's on disk, and this is
    longer: then a hash stands for the name."""
    name = f"dcid.{run_id}"
    return name if len(name) <= SEGMENT_LIMIT else f"dcid.{sha256(run_id.encode()).hexdigest()}"


def share(source: Path, target: Path) -> None:
    """Makes `target` hold what `source` holds, without copying: both names lead to the same files.

    Folders are merged, files of the same name replaced. Where the disk knows no hard links the files are copied.
    """
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(source, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(exist_ok=True)
        for file in files:
            _link(Path(folder, file), here / file)


def _link(source: Path, target: Path) -> None:
    real = source.resolve()  # a link made by a step may point to a file that is in no container
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(real, target)
    except OSError as problem:
        if problem.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copy2(real, target)
