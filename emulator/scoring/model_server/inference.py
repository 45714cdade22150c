"""One thread that does all the inference.

Torch spreads a single computation over the processor's cores; several computations at once only get in each other's
way (measured: up to 2.7 times slower). So requests queue here.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class InferenceThread:
    """Runs callables one after the other in a thread of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    async def run(self, work: Callable[[], Result], seconds: float | None = None) -> Result:
        """The result of `work`.

        Raises:
            TimeoutError: it was not there after `seconds`. Work that has not begun by then is dropped.
        """
        future: Future[Result] = self._executor.submit(work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            future.cancel()
            raise

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Queues `work`."""
        return self._executor.submit(work)

    def close(self) -> None:
        """Drops what has not begun. Does not wait for what has: the process is about to end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
