"""Waiting with a deadline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any


class Late(AssertionError):
    """Something did not happen in time."""


def await_until(happened: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first answer of `happened` that is true.

    Raises:
        Late: there was none.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # the server may be away
            if answer := happened():
                return answer
        time.sleep(0.3)
    raise Late(f"not within {seconds:.0f} s: {what}")
