"""Times as HTTP headers carry them."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime


def http_date(nanoseconds: int) -> str:
    """`Tue, 15 Nov 1994 12:45:26 GMT` for a time in nanoseconds since the epoch."""
    return formatdate(nanoseconds / 1e9, usegmt=True)


def seconds(text: str) -> int:
    """The seconds since the epoch of an HTTP date.

    Raises:
        ValueError: it is none.
    """
    return int(parsedate_to_datetime(text).timestamp())
