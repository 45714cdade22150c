"""MLflow tracking behind Azure ML's route: MLflow's own server code over a database in the state folder.

A job's run has the job's name as its id, as on Azure. MLflow makes up ids of its own, so job runs are written through MLflow's
database model; everything else goes through its server. It is loaded at the first use: its import takes seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.arm.gate import authenticate, authorize
from emulator.identity.tokens import ARM, AZURE_ML, Tokens
from emulator.installation import Installation
from emulator.routing import WORKSPACE

STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
# POSTs that only read.
SEARCHES = ("search", "get-history-bulk", "search-experiments")


class Tracking:
    """The MLflow server of one installation, and the runs of its jobs."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._loading = asyncio.Lock()
        self._app: ASGIApp | None = None

    async def app(self) -> ASGIApp:
        """The server, loaded at the first call."""
        async with self._loading:
            if self._app is None:
                self._app = await asyncio.to_thread(self._load)
            return self._app

    async def create_run(
        self, run_id: str, *, experiment: str, name: str, parent: str | None = None, tags: dict[str, str] | None = None
    ) -> None:
        """Makes the run of a job, Running from now; nothing happens when it is there already."""
        await self.app()
        await asyncio.to_thread(self._create_run, run_id, experiment, name, parent, tags or {})

    async def finish_run(self, run_id: str, status: str) -> None:
        """Ends the run as the job ended: `status` is Completed, Failed or Canceled."""
        await self.app()
        await asyncio.to_thread(self._finish_run, run_id, STATUS.get(status, "FAILED"))

    async def has_run(self, run_id: str) -> bool:
        """Whether MLflow knows the run: a job's, or one that somebody logs to from a notebook."""
        await self.app()
        return await asyncio.to_thread(self._has_run, run_id)

    async def last_step(self, run_id: str) -> int | None:
        """The highest step that the run has logged a metric for; None when it has logged none."""
        await self.app()
        return await asyncio.to_thread(self._last_step, run_id)

    def _load(self) -> ASGIApp:
        folder = self._installation.state / "mlflow"
        folder.mkdir(parents=True, exist_ok=True)
        # MLflow's server reads its configuration from the environment, while it is imported.
        os.environ.update(
            {
                "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": self._artifact_root,
                "_MLFLOW_SERVER_SERVE_ARTIFACTS": "false",
                # Host names and tokens are checked in front of it.
                "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            }
        )
        from a2wsgi import WSGIMiddleware
        from mlflow.server import app, handlers

        from emulator.dataplane.mlflow_store import AzureStore

        handlers._tracking_store_registry.register("sqlite", AzureStore.opened)
        self._store()  # creates the database before the first request needs it
        return WSGIMiddleware(app, workers=4)  # type: ignore[return-value, arg-type]

    @property
    def _artifact_root(self) -> str:
        """Where azureml-mlflow reads and writes artifacts: run history's routes, named as on Azure."""
        here = self._installation
        return f"azureml://{here.data_host}/mlflow/v2.0{here.workspace_id}/experiments"

    @staticmethod
    def _store() -> Any:
        from mlflow.server.handlers import _get_tracking_store

        return _get_tracking_store()

    def _create_run(self, run_id: str, experiment: str, name: str, parent: str | None, tags: dict[str, str]) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag

        store = self._store()
        found = store.get_experiment_by_name(experiment)
        if found is None:
            try:
                experiment_id = store.create_experiment(experiment)
            except MlflowException:  # another job made it in between
                experiment_id = store.get_experiment_by_name(experiment).experiment_id
        else:
            experiment_id = found.experiment_id
        all_tags = {**tags, "mlflow.runName": name, **({"mlflow.parentRunId": parent} if parent else {})}
        with store.ManagedSessionMaker(read_only=False) as session:
            if session.get(SqlRun, run_id) is not None:
                return
            run = SqlRun(
                run_uuid=run_id,
                name=name,
                experiment_id=int(experiment_id),
                artifact_uri=f"{self._artifact_root}/{experiment_id}/runs/{run_id}/artifacts",
                source_type="JOB",
                source_name="",
                entry_point_name="",
                source_version="",
                user_id="emulator",
                status="RUNNING",
                start_time=int(time.time() * 1000),
                lifecycle_stage="active",
            )
            run.tags = [SqlTag(key=key, value=value) for key, value in all_tags.items()]
            session.add(run)

    def _finish_run(self, run_id: str, status: str) -> None:
        from mlflow.entities import RunStatus
        from mlflow.exceptions import MlflowException

        store = self._store()
        try:
            name = store.get_run(run_id).info.run_name
        except MlflowException:  # a job that ended before its run was made
            return
        store.update_run_info(run_id, RunStatus.from_string(status), int(time.time() * 1000), name)

    def _has_run(self, run_id: str) -> bool:
        from mlflow.store.tracking.dbmodels.models import SqlRun

        with self._store().ManagedSessionMaker(read_only=True) as session:
            return session.get(SqlRun, run_id) is not None

    def _last_step(self, run_id: str) -> int | None:
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric
        from sqlalchemy import func, select

        with self._store().ManagedSessionMaker(read_only=True) as session:
            return session.scalar(select(func.max(SqlLatestMetric.step)).where(SqlLatestMetric.run_uuid == run_id))


class MlflowRoute:
    """`/mlflow/v2.0{workspace}/...` and its older v1.0: the token is checked, the rest of the path is MLflow's."""

    def __init__(self, tracking: Tracking, tokens: Tokens, installation: Installation) -> None:
        self._tracking = tracking
        self._tokens = tokens
        self.operations = [(method, f"/mlflow/v2.0{WORKSPACE}/{{path:path}}") for method in ("GET", "POST")]
        self._prefixes = tuple(f"/mlflow/{version}{installation.workspace_id}".lower() for version in ("v2.0", "v1.0"))

    def matches(self, path: str) -> bool:
        """Whether the path is one of MLflow's."""
        return path.lower().startswith(tuple(prefix + "/" for prefix in self._prefixes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = authenticate(scope, self._tokens, ARM + AZURE_ML)
        path = scope["path"][len(self._prefixes[0]) :]
        if not path.endswith(SEARCHES):
            authorize(principal, scope)
        app = await self._tracking.app()
        await app({**scope, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send)
