"""Puts the emulator together: which behaviour needs which, and which host each is reached by."""

from __future__ import annotations

from emulator.arm import app as arm
from emulator.hosts import Service
from emulator.identity import authority
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.operations import Operations
from emulator.routing import AzureRouter
from emulator.server import Server
from emulator.store import Store


class Azure:
    """The running emulator: `server` answers; `start` and `stop` are its life."""

    def __init__(self, installation: Installation, *, faithful: bool = False) -> None:
        self.store = Store(installation.state / "documents.sqlite")
        self.operations = Operations(installation, self.store, faithful=faithful)
        tokens = Tokens(installation)
        self.server = Server(
            installation,
            {
                Service.IDENTITY: AzureRouter(authority.routes(tokens)),
                Service.ARM: arm.app(installation, tokens, self.operations, []),
            },
        )

    async def start(self) -> None:
        """Picks up what an earlier process of the same state folder left."""
        self.operations.abandon_unfinished()

    async def stop(self) -> None:
        """Ends everything that was started."""
        await self.operations.close()
        self.store.close()
