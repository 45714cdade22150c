"""Files of a dataset on the Hugging Face hub, at one commit of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.ranged import RangedFile
from tasks.sampling.tree import DataFile, Tree

HUB = "https://huggingface.co"

RETRIES = 4
"""After 1, 2, 4 and 8 seconds, where the hub cannot be reached, has a fault or is busy."""


@dataclass(frozen=True)
class _Hub:
    """One dataset as one user sees it."""

    endpoint: str
    dataset: str
    token: str | None = field(repr=False)

    def get(self, url: str, revision: str | None, **headers: str) -> bytes:
        """The body at `url`.

        Raises:
            SourceUnavailable: the hub refuses, or cannot be reached.
        """
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

        headers |= build_hf_headers(token=self.token)
        with _refusals_explained(self.dataset, revision, self.endpoint):
            response = http_backoff("GET", url, max_retries=RETRIES, headers=headers, timeout=60, follow_redirects=True)
            hf_raise_for_status(response)
        return bytes(response.content)

    def open(self, commit: str, name: str, size: int) -> RangedFile:
        """One file of the dataset."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self.dataset, name, repo_type="dataset", revision=commit, endpoint=self.endpoint)
        return RangedFile(size, lambda start, end: self.get(url, commit, range=f"bytes={start}-{end - 1}"))


def hub_tree(dataset: str, *, revision: str | None, token: str | None) -> Tree:
    """The files of a dataset at the commit that `revision` (default: the main branch) stands for now.

    The hub's address is `HF_ENDPOINT`'s, where that is set, as for all of Hugging Face's clients.

    Raises:
        SourceUnavailable: no such dataset or revision, no right to read it, or no way to the hub.
    """
    hub = _Hub(os.environ.get("HF_ENDPOINT", HUB).rstrip("/"), dataset, token)
    at = quote(revision or "main", safe="")
    info = json.loads(hub.get(f"{hub.endpoint}/api/datasets/{dataset}/revision/{at}?blobs=true", revision))
    commit = str(info["sha"])
    files = [
        DataFile(
            file["rfilename"], file["size"], partial(hub.open, commit, file["rfilename"], file["size"]), remote=True
        )
        for file in info["siblings"]
    ]
    return Tree(dataset, files, commit=commit)


@contextmanager
def _refusals_explained(dataset: str, revision: str | None, endpoint: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise SourceUnavailable(
            f"{dataset} is gated. Accept its terms on {endpoint}/datasets/{dataset}, and name the block that holds a token "
            "of the same user in hub_token_block."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceUnavailable(
            f"{dataset} has no revision {revision}. Give a commit, tag or branch that it has."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceUnavailable(
            f"{dataset} is neither on this machine nor on the hub at {endpoint}, or it is private. Check the name; for a "
            "private dataset, name the block that holds a token in hub_token_block."
        ) from error
    except errors.HFValidationError as error:
        raise SourceUnavailable(f"{dataset} is neither on this machine nor the id of a dataset on the hub.") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise SourceUnavailable(f"The hub at {endpoint} answered {status} for {dataset}. Try again later.") from error
    except (errors.OfflineModeIsEnabled, errors.HTTPError, OSError) as error:
        raise SourceUnavailable(
            f"The hub at {endpoint} cannot be reached, so {dataset} cannot be sampled. Check this machine's way out "
            "(HTTPS_PROXY, HF_HUB_OFFLINE, HF_ENDPOINT), or give a local folder or an azureml: data asset as the source."
        ) from error
