"""Puts the engine's parts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from emulator.arm.uris import Uris
from emulator.blob.containers import Containers
from emulator.engine.clusters import Clusters, NodeSource
from emulator.engine.components import AssetSource, Components, ComponentSource
from emulator.engine.engine import Engine
from emulator.engine.environment import StepEnvironment
from emulator.engine.faults import StepFaults
from emulator.engine.graph import Graphs
from emulator.engine.inputs import Inputs, ModelSource
from emulator.engine.places import Places
from emulator.engine.runs import Runs, Tracking
from emulator.engine.step import Steps
from emulator.fork_server import ForkServer
from emulator.identity.tokens import Tokens
from emulator.installation import Installation
from emulator.store import Store


class Registry(ComponentSource, ModelSource, Protocol):
    """The system registry."""


def engine(
    installation: Installation,
    store: Store,
    *,
    tokens: Tokens,
    tracking: Tracking,
    containers: Containers,
    uris: Uris,
    assets: AssetSource,
    registry: Registry,
    computes: NodeSource,
    network: Mapping[str, str],
    fork_server: ForkServer,
) -> Engine:
    """The engine of one emulator; `network` holds HTTPS_PROXY and REQUESTS_CA_BUNDLE, with which a step reaches it."""
    runs = Runs(store, tracking)
    places = Places(installation, containers, uris)
    inputs = Inputs(places, assets, registry, runs)
    clusters = Clusters(computes)
    faults = StepFaults(store, runs)
    steps = Steps(runs, places, inputs, clusters, StepEnvironment(installation, tokens, network), faults, fork_server)
    graphs = Graphs(runs, steps, inputs, places)
    return Engine(store, runs, places, Components(assets, registry), clusters, steps, graphs, faults)
