"""Puts the emulator together: which behaviour needs which, and which host each is reached by."""

from __future__ import annotations

from emulator.arm import app as arm
from emulator.arm import asset_routes, computes, datastores
from emulator.arm.assets import Assets
from emulator.arm.computes import Computes
from emulator.arm.datastores import Datastores
from emulator.arm.quota import Quota
from emulator.arm.uris import Uris
from emulator.blob.containers import Containers
from emulator.blob.service import BlobService
from emulator.dataplane import app as dataplane
from emulator.dataplane import discovery
from emulator.dataplane.mlflow import MlflowRoute, Tracking
from emulator.hosts import Service
from emulator.identity import authority
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.operations import Operations
from emulator.registry import service as registry
from emulator.registry.catalog import Catalog
from emulator.routing import AzureRouter
from emulator.server import Server
from emulator.store import Store


class Azure:
    """The running emulator: `server` answers; `start` and `stop` are its life. `port` is the proxy's, for job processes."""

    def __init__(self, installation: Installation, port: int, *, faithful: bool = False) -> None:
        self.store = Store(installation.state / "documents.sqlite")
        self.operations = Operations(installation, self.store, faithful=faithful)
        tokens = Tokens(installation)
        tracking = Tracking(installation)
        catalog = Catalog(installation)
        containers = Containers(installation)
        quota = Quota(installation)
        clusters = Computes(installation, self.store, self.operations, quota)

        def has_output(job: str, output: str) -> bool:
            return containers.locate(containers.default, f"azureml/{job}/{output}").exists()

        assets = Assets(installation, self.store, Uris(installation, has_output).expand)
        stores = Datastores(installation, containers, self.store)
        resources = [*computes.routes(clusters, quota), *asset_routes.routes(assets), *datastores.routes(stores)]
        data = [*discovery.routes(installation, tokens)]
        self.server = Server(
            installation,
            {
                Service.IDENTITY: AzureRouter(authority.routes(tokens)),
                Service.ARM: arm.app(installation, tokens, self.operations, resources),
                Service.DATAPLANE: dataplane.app(MlflowRoute(tracking, tokens, installation), data),
                Service.BLOB: BlobService(installation, tokens, containers, self.store),
                Service.REGISTRY: AzureRouter(registry.routes(catalog, tokens)),
            },
        )

    async def start(self) -> None:
        """Picks up what an earlier process of the same state folder left."""
        self.operations.abandon_unfinished()

    async def stop(self) -> None:
        """Ends everything that was started."""
        await self.operations.close()
        self.store.close()
