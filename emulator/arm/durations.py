"""ISO 8601 durations, as request and probe settings carry them: `PT1M30S`."""

from __future__ import annotations

import re

FORM = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?", re.ASCII)


def seconds(text: str) -> float:
    """The seconds that a duration lasts.

    Raises:
        ValueError: it is no ISO 8601 duration of days, hours, minutes and seconds.
    """
    found = FORM.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f"'{text[:40]}' is no ISO 8601 duration such as PT1M30S")
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
