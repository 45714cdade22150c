"""management.azure.com as one app: every resource's routes behind the gate."""

from __future__ import annotations

from starlette.routing import Route

from emulator.arm import metadata, workspaces
from emulator.arm.gate import Gate
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.operations import Operations
from emulator.routing import AzureRouter


def app(installation: Installation, tokens: Tokens, operations: Operations, resources: list[Route]) -> Gate:
    """The service, given the routes of its resources."""
    routes = [*metadata.routes(operations), *workspaces.routes(installation), *resources]
    return Gate(AzureRouter(routes), installation, tokens)
