"""Asset URIs: the short forms that clients send, and the full form that Azure ML keeps and answers."""

from __future__ import annotations

import re
from collections.abc import Callable

from emulator import errors
from emulator.installation import Installation

JOB_OUTPUT = re.compile(r"\Aazureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/(?:paths/)?(?P<rest>.*))?\Z")
DATASTORE = re.compile(r"\Aazureml://datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)\Z")
FULL = re.compile(
    r"\Aazureml://subscriptions/[^/]+/resourcegroups/[^/]+/(?:providers/microsoft\.machinelearningservices/)?workspaces/[^/]+"
    r"/datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)\Z",
    re.IGNORECASE,
)
DEFAULT_DATASTORE = "workspaceblobstore"


class Uris:
    """Expands URIs. `has_output` tells whether a job has written an output (job, output)."""

    def __init__(self, installation: Installation, has_output: Callable[[str, str], bool]) -> None:
        here = installation
        self._root = f"azureml://subscriptions/{here.subscription_id}/resourceGroups/{here.resource_group}/workspaces/{here.workspace}"
        self._has_output = has_output

    def expand(self, uri: str) -> str:
        """The full form of `uri`.

        Raises:
            AzureError: 400, it names a job output that is not there or is no URI of this workspace.
        """
        if found := JOB_OUTPUT.match(uri):
            job, output = found["job"], found["output"]
            if not self._has_output(job, output):
                raise errors.bad_request(f"The output '{output}' of job '{job}' does not exist.")
            rest = f"/{found['rest']}" if found["rest"] else ""
            return self.full(DEFAULT_DATASTORE, f"azureml/{job}/{output}{rest}")
        if found := DATASTORE.match(uri) or FULL.match(uri):
            return self.full(found["datastore"], found["path"])
        raise errors.bad_request(f"The URI '{uri[:200]}' is not one of this workspace.")

    def full(self, datastore: str, path: str) -> str:
        """`azureml://subscriptions/.../datastores/{datastore}/paths/{path}`."""
        return f"{self._root}/datastores/{datastore}/paths/{path}"


def split(uri: str) -> tuple[str, str] | None:
    """Datastore and path of a full or short datastore URI; None for any other."""
    found = DATASTORE.match(uri) or FULL.match(uri)
    return (found["datastore"], found["path"]) if found else None
