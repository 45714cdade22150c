"""How often something that takes its time on Azure is looked at: a job, a cluster or an endpoint in the making, one that goes."""

from __future__ import annotations

from dataclasses import dataclass

QUICKEST_SECONDS = 1.0
STEADY_SECONDS = 10.0
"""Six looks a minute when nothing happens."""
GROWTH = 1.15


@dataclass
class Pace:
    """Looks come fast after a change and slow down while nothing changes, to one request every `STEADY_SECONDS`."""

    interval: float = QUICKEST_SECONDS

    def changed(self) -> None:
        """Something happened: more may follow soon."""
        self.interval = QUICKEST_SECONDS

    def pause(self, requests: int = 1) -> float:
        """Seconds to wait after a look that took so many `requests`."""
        pause = self.interval * (requests if self.steady else 1)
        self.interval = min(STEADY_SECONDS, self.interval * GROWTH)
        return pause

    @property
    def steady(self) -> bool:
        return self.interval >= STEADY_SECONDS
