"""How events and actions travel inside the stack's server: by Prefect's broker in memory, but no bad end is lost or told twice.

Prefect evaluates an event for one automation after the other, publishes an automation's actions before its transaction ends, and
evaluates the event for all of them again when anything fails: who was told is told again. After four failures, which may all be
in the same second, it drops the event: who was not told is never told. Here a failure of the database is waited out, and an
action is published once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar

from prefect.server.utilities.messaging import Message, MessageHandler, memory
from prefect.server.utilities.messaging.memory import break_topic, ephemeral_subscription
from sqlalchemy.exc import OperationalError, TimeoutError

__all__ = ["Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

ACTIONS = "actions"
"""Prefect's name of the topic that an automation's actions are published to."""
PAUSE_SECONDS = 1.0
REMEMBERED = 10_000
at_work = ContextVar("at_work", default=False)
"""Whether an event or an action is being handled: `deployments.stack.server.take_turns` asks."""
_log = logging.getLogger("prefect.server.stack")
_published: dict[tuple[str, ...], None] = {}
"""The last actions that were published for a state, the oldest first. They live as long as the messages: as the process."""


def what_for(action: str | bytes) -> tuple[str, ...] | None:
    """Which action of which automation is published, for which state of which run; None if what triggered it is no run's new state.

    The id of a state is that of the event that tells of it: a run that crashes, goes on and crashes again has two.
    """
    published = json.loads(action)
    told = (published.get("firing") or {}).get("triggering_event") or {}
    run = told.get("resource", {}).get("prefect.resource.id", "")
    if not run.startswith("prefect.flow-run.") or "validated_state" not in told.get("payload", {}):
        return None
    return published["automation"]["id"], str(published["action_index"]), run, told["id"]


class Publisher(memory.Publisher):
    """Prefect's, but that an action is published once for a state of a run."""

    async def publish_data(self, data: bytes, attributes: Mapping[str, str]) -> None:
        """Publishes a message, unless it is an action that was published before."""
        reason = what_for(data) if self.topic.name == ACTIONS else None
        if reason in _published:
            _log.info("Action not repeated: automation %s, action %s, %s, state %s", *reason)
            return
        await super().publish_data(data, attributes)
        if reason:
            _published[reason] = None
            if len(_published) > REMEMBERED:
                del _published[next(iter(_published))]


class Consumer(memory.Consumer):
    """Prefect's, but that a message stays at hand while the database is the reason why it cannot be handled."""

    async def run(self, handler: MessageHandler) -> None:
        """Handles messages for ever."""

        async def wait_out(message: Message) -> None:
            while not await _handled(handler, message):  # noqa: ASYNC110 - nothing tells when the database is free
                await asyncio.sleep(PAUSE_SECONDS)

        await super().run(wait_out)


async def _handled(handler: MessageHandler, message: Message) -> bool:
    """False: the database did not let it. The error is forgotten with this call, and with it what it holds of the database."""
    before = at_work.set(True)
    try:
        await handler(message)
    except (OperationalError, TimeoutError) as problem:
        _log.warning("Handled again in %s s, since the database failed: %s", PAUSE_SECONDS, problem)
        return False
    finally:
        at_work.reset(before)
    return True
