"""Puts the emulator together: which behaviour needs which, and which host each is reached by."""

from __future__ import annotations

import logging

from emulator import disk
from emulator.arm import app as arm
from emulator.arm import asset_routes, computes, datastores, endpoint_routes, jobs, pending_uploads
from emulator.arm.assets import Assets
from emulator.arm.computes import Computes
from emulator.arm.datastores import Datastores
from emulator.arm.deployments import Deployments
from emulator.arm.endpoints import Endpoints
from emulator.arm.quota import Quota
from emulator.arm.uris import Uris
from emulator.blob.containers import Containers
from emulator.blob.service import BlobService
from emulator.conditions import Conditions
from emulator.dataplane import discovery, history, history_artifacts
from emulator.dataplane.app import DataPlane
from emulator.dataplane.mlflow import MlflowRoute, Tracking
from emulator.engine.build import engine
from emulator.environment import environment
from emulator.faults.book import Faults
from emulator.faults.middleware import Reset
from emulator.fork_server import ForkServer
from emulator.hosts import Service
from emulator.identity import authority
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.operations import Operations
from emulator.registry import service as registry
from emulator.registry.catalog import Catalog
from emulator.routing import AzureRouter
from emulator.scoring.artifacts import Artifacts
from emulator.scoring.fleet import Fleet
from emulator.scoring.front_door import FrontDoor
from emulator.server import Server
from emulator.store import Store

log = logging.getLogger("emulator.assembly")


class Azure:
    """The running emulator: `server` answers; `start` and `stop` are its life.

    `port` is the proxy's, for job processes; `reset` cuts a client's connection, by the port that it comes from.
    """

    def __init__(
        self,
        installation: Installation,
        conditions: Conditions,
        port: int,
        reset: Reset,
        *,
        faithful: bool = False,
    ) -> None:
        self.store = Store(installation.state / "documents.sqlite")
        self.operations = Operations(installation, self.store, faithful=faithful)
        self.faults = Faults(self.store)
        self._fork_server = ForkServer()
        tokens = Tokens(installation)
        tracking = Tracking(installation)
        catalog = Catalog(installation, conditions.today)
        containers = Containers(installation)
        quota = Quota(installation, conditions)
        clusters = Computes(installation, self.store, self.operations, quota)

        def has_output(job: str, output: str) -> bool:
            return containers.locate(containers.default, f"azureml/{job}/{output}").exists()

        uris = Uris(installation, has_output)
        assets = Assets(installation, self.store, uris.expand)
        self.engine = engine(
            installation,
            self.store,
            tokens=tokens,
            tracking=tracking,
            containers=containers,
            uris=uris,
            assets=assets,
            registry=catalog,
            computes=clusters,
            network=environment(installation, port),
            fork_server=self._fork_server,
        )
        stores = Datastores(installation, containers, self.store)
        fleet = Fleet(installation.state / "serving", self.store, self._fork_server)
        endpoints = Endpoints(installation, self.store, self.operations, fleet)
        served = Artifacts(assets, catalog, stores.locate, containers.locate)
        self.deployments = Deployments(
            installation, self.store, self.operations, endpoints, fleet, served, quota.require_serving
        )
        quota.count(self.deployments.cores_in_use)
        resources = [
            *computes.routes(clusters, quota),
            *asset_routes.routes(assets),
            *datastores.routes(stores),
            *endpoint_routes.routes(endpoints, self.deployments),
            *pending_uploads.routes(installation, containers),
        ]
        resources += jobs.routes(jobs.Jobs(installation, self.engine, self.operations), tokens)
        runs = history.History(installation, self.engine)
        artifacts = history_artifacts.Artifacts(installation, runs, tracking)
        data = [
            *discovery.routes(installation, tokens),
            *history.routes(runs, tokens),
            *history_artifacts.routes(artifacts, tokens),
        ]
        self.server = Server(
            installation,
            {
                Service.IDENTITY: AzureRouter(authority.routes(tokens)),
                Service.ARM: arm.app(installation, tokens, self.operations, resources),
                Service.DATAPLANE: DataPlane(MlflowRoute(tracking, tokens, installation), data),
                Service.BLOB: BlobService(installation, tokens, containers, self.store),
                Service.SCORING: FrontDoor(installation, tokens, fleet, endpoints.find, self.deployments.find),
                Service.REGISTRY: AzureRouter(registry.routes(installation, catalog, containers, tokens)),
            },
            self.faults,
            reset,
            conditions.now,
        )

    async def start(self) -> None:
        """Picks up what an earlier process of the same state folder left."""
        self.operations.abandon_unfinished()
        await self.deployments.start()
        await self.engine.start()

    async def stop(self) -> None:
        """Ends everything that was started."""
        await self.operations.close()
        # First, so that nothing waits for what it imports. Steps and model servers are ended by who asked for them.
        await self._fork_server.close()
        for stop in (self.deployments.stop, self.engine.stop):
            try:
                await stop()
            except Exception as error:
                if not disk.passes(error):
                    raise
                log.warning("what was stopped could not be noted: %s", error)
        self.store.close()
