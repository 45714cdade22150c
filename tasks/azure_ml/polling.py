"""How often what takes its time on Azure is polled: a job, a cluster or an endpoint in the making, one that goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

QUICKEST_SECONDS = 1.0
IDLE_SECONDS = 10.0
"""Six polls a minute when nothing happens."""
GROWTH = 1.15


@dataclass
class PollInterval:
    """Polls come fast after a change and slow down while nothing changes, to one request every `IDLE_SECONDS`."""

    interval: float = QUICKEST_SECONDS

    def changed(self) -> None:
        """Something happened: more may follow soon."""
        self.interval = QUICKEST_SECONDS

    def pause(self, requests: int = 1) -> float:
        """Seconds to wait after a poll that took so many `requests`."""
        pause = self.interval * (requests if self.idle else 1)
        self.interval = min(IDLE_SECONDS, self.interval * GROWTH)
        return pause

    @property
    def idle(self) -> bool:
        return self.interval >= IDLE_SECONDS


def polls(seconds: float) -> Iterator[None]:
    """Yields once for each poll, with a `PollInterval`'s pauses between them, the last one after `seconds`. `for _ in polls(60):`
    is left by `break` or `return`; what follows it, or its `else`, is for what never came."""
    deadline, pace = time.monotonic() + seconds, PollInterval()
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(pace.pause())
