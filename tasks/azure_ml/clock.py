"""The day by Azure's clock. By it what is retired is gone, whatever the clock of the machine that asks says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime


def day_of(headers: Mapping[str, str]) -> date:
    """The day, in UTC, on which an answer with these headers was given: its `Date` (RFC 9110, 6.6.1). The machine's own where a
    proxy on the way has taken that out or spoilt it."""
    try:
        return parsedate_to_datetime(headers["Date"]).astimezone(UTC).date()
    except (KeyError, TypeError, ValueError):
        return datetime.now(UTC).date()
