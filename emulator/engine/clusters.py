"""The queue for a cluster's nodes: first come, first served."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict, deque
from typing import Protocol

from emulator.engine.failure import user_error

SERVERLESS = "serverless"
RECHECK_SECONDS = 1.0  # a cluster may have been scaled or deleted, or have its nodes at last


class NodeSource(Protocol):
    """The workspace's computes."""

    def capacity(self, name: str) -> int | None: ...

    def is_resizing(self, name: str) -> bool: ...

    def occupy(self, name: str, nodes: int) -> None: ...

    def release(self, name: str, nodes: int) -> None: ...


class Clusters:
    """Who has how many nodes of which cluster, and who waits."""

    def __init__(self, computes: NodeSource) -> None:
        self._computes = computes
        self._busy: Counter[str] = Counter()
        self._queues: defaultdict[str, deque[object]] = defaultdict(deque)
        self._changed = asyncio.Event()

    def require(self, name: str, nodes: int) -> int:
        """The nodes that the cluster can have.

        Raises:
            RunFailed: there is no such cluster, or it can never have `nodes`.
        """
        capacity = self._computes.capacity(name)
        if capacity is None:
            raise user_error(f"Compute target {name} was not found in the workspace. Create it, or use serverless.")
        if nodes > capacity:
            raise user_error(
                f"The specified node count {nodes} exceeds the maximum node count {capacity} of compute target {name}. Ask for "
                "fewer nodes (resources.instance_count), or scale the cluster up."
            )
        return capacity

    async def acquire(self, name: str, nodes: int) -> None:
        """Waits for `nodes` of the cluster.

        Raises:
            RunFailed: it does not exist or never has as many, be it from the start or while waiting.
        """
        queue, ticket = self._queues[name.lower()], object()
        queue.append(ticket)
        try:
            while True:
                capacity = self.require(name, nodes)
                free = 0 if self._computes.is_resizing(name) else capacity - self._busy[name.lower()]
                if queue[0] is ticket and nodes <= free:
                    self.seize(name, nodes)
                    return
                await self._change()
        finally:
            queue.remove(ticket)
            self._announce()

    def seize(self, name: str, nodes: int) -> None:
        """Takes nodes out of turn, for a step that runs on them already."""
        self._busy[name.lower()] += nodes
        self._computes.occupy(name, nodes)

    def release(self, name: str, nodes: int) -> None:
        """Gives nodes back."""
        self._busy[name.lower()] -= nodes
        self._computes.release(name, nodes)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), RECHECK_SECONDS)
