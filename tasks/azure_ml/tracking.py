"""Reads runs where Azure ML keeps them: state and metrics by MLflow's own client, errors and logs from its run history.

Both are spoken to with the block's own identity. The MLflow plug-in for Azure ML is not used: it signs in by a chain
of its own, which knows nothing of the block and ends in a browser window (docs/decisions/mlflow.md).
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from blocks import AzureMLWorkspace
from tasks.azure_ml.states import WORKING

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.rest import HttpRequest, HttpResponse
    from mlflow.store.tracking.rest_store import RestStore

READ_SECONDS = 60
LARGEST_PAGE = 500
"""Values of a metric in one page: Azure refuses pages of a thousand, though MLflow knows larger ones
(https://github.com/mlflow/mlflow/issues/10694)."""
OF_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Also the time in which a connection must come about.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # As azure-core: three tries more, within seconds. MLflow's own seven take minutes, in which nothing is seen.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""Settings of MLflow's client, which has them from the environment alone. What a person has set there stays."""
INFINITY = 1.797e308
"""From here on a number is what MLflow's SQL stores keep for an infinity, the largest that there is
(https://github.com/mlflow/mlflow/pull/1573)."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow shows it: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED, and each metric's last value."""

    status: str
    metrics: dict[str, float]
    steps: dict[str, int]

    @property
    def ended(self) -> bool:
        return self.status in ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True, order=True)
class Measured:
    """A value of a metric. A step may have several, as what goes on from a checkpoint logs some steps again."""

    step: int
    timestamp: int
    """When it was logged, in milliseconds since the epoch."""
    value: float


@dataclass(frozen=True)
class RunDetails:
    """A run as the run history shows it."""

    status: str
    error: str
    logs: dict[str, str] = field(repr=False)
    """Log files by path; the addresses are signed, hence secret."""
    seconds: float | None = None
    """From its start to its end, or to now while it works; None before that, and where Azure does not say."""


class Tracking:
    """The tracking routes of one workspace. `tracking_uri` as the workspace names it: `azureml://{host}/mlflow/v1.0/...`.

    Its methods raise azure.core's errors, like the SDK, and MLflow's own. `tasks.azure_ml.errors.classify` knows both.
    """

    def __init__(self, workspace: AzureMLWorkspace, tracking_uri: str) -> None:
        host, _, route = tracking_uri.removeprefix("azureml://").partition("/")
        self._workspace = workspace
        self._host = f"https://{host}"
        self._scope = re.sub(r"^mlflow/v[0-9.]+", "", route.partition("?")[0])

    def run(self, run_id: str) -> TrackedRun:
        """The run's state and last metrics; one request."""
        from azure.core.exceptions import DecodeError

        run = self._mlflow.get_run(run_id)
        if not run.info.run_id:
            # Any JSON passes for a run, as an empty one that goes on.
            raise DecodeError(run_id)
        metrics = run.data.to_proto().metrics
        return TrackedRun(
            status=str(run.info.status),
            metrics={metric.key: _value(metric.value) for metric in metrics},
            steps={metric.key: metric.step for metric in metrics},
        )

    def history(self, run_id: str, metric: str) -> list[Measured]:
        """All values of `metric`; empty if there are none."""
        points: list[Measured] = []
        token = None
        while True:
            page = self._mlflow.get_metric_history(run_id, metric, max_results=LARGEST_PAGE, page_token=token)
            points += [Measured(point.step, point.timestamp, _value(point.value)) for point in page]
            token = page.token
            if not token:
                return points

    def children(self, run_id: str) -> list[tuple[str, str, str]]:
        """Id, name and state of the runs directly below, from the run history."""
        found: list[tuple[str, str, str]] = []
        path = f"/history/v1.0{self._scope}/runs/{run_id}/children"
        while path:
            page = self._get(path)
            found += [
                (str(run["runId"]), str(run.get("displayName") or run["runId"]), str(run.get("status") or ""))
                for run in page.get("value", [])
                if run.get("runId")
            ]
            path = str(page.get("nextLink") or "").removeprefix(self._host)
        return found

    def details(self, run_id: str) -> RunDetails:
        """The run's own error and where its logs are; one request."""
        details = self._get(f"/history/v1.0{self._scope}/runs/{run_id}/details")
        status = str(details.get("status", ""))
        now = datetime.now(UTC).isoformat() if status in WORKING else None
        error = (details.get("error") or {}).get("error") or details.get("error") or {}
        return RunDetails(
            status=status,
            error=_error_text(error),
            logs={str(path): str(url) for path, url in (details.get("logFiles") or {}).items()},
            seconds=_seconds(details.get("startTimeUtc"), details.get("endTimeUtc") or now),
        )

    def log(self, url: str) -> str:
        """The text behind one of `RunDetails.logs`. The address is signed; no token goes there."""
        from azure.core import PipelineClient
        from azure.core.rest import HttpRequest

        client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(base_url=url.partition("?")[0])
        with client:
            response = client.send_request(HttpRequest("GET", url), connection_timeout=10, read_timeout=READ_SECONDS)
            response.raise_for_status()
            return str(response.text())

    @cached_property
    def _mlflow(self) -> RestStore:
        """MLflow's client. It has its token from the credential at each call, which is asked again before that runs out: a night
        outlives one."""
        for name, value in OF_MLFLOW.items():
            os.environ.setdefault(name, value)
        from azure.identity import get_bearer_token_provider
        from mlflow.store.tracking.rest_store import RestStore
        from mlflow.utils.rest_utils import MlflowHostCreds

        its = self._workspace.credentials
        token = get_bearer_token_provider(its.credential(), its.endpoints.management_scope)
        host = f"{self._host}/mlflow/v2.0{self._scope}"
        return RestStore(lambda: MlflowHostCreds(host, token=token()))

    def _get(self, path: str) -> dict[str, Any]:
        from azure.core.rest import HttpRequest

        request = HttpRequest("GET", self._host + path)
        response = self._client.send_request(request, connection_timeout=10, read_timeout=READ_SECONDS)
        response.raise_for_status()
        return dict(response.json())

    @cached_property
    def _client(self) -> PipelineClient[HttpRequest, HttpResponse]:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy, HeadersPolicy, RetryPolicy

        credentials = self._workspace.credentials
        bearer = BearerTokenCredentialPolicy(credentials.credential(), credentials.endpoints.management_scope)
        return PipelineClient(base_url=self._host, policies=[HeadersPolicy(), RetryPolicy(), bearer])


def _seconds(started: str | None, ended: str | None) -> float | None:
    try:
        return (datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(started))).total_seconds()
    except (ValueError, TypeError):
        return None


def _value(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= INFINITY else value


def _error_text(error: dict[str, Any]) -> str:
    code, message = error.get("code"), error.get("message")
    return ": ".join(str(part) for part in (code, message) if part)
