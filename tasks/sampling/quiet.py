"""`datasets` without its running commentary: what it has to say reaches people in the flow's own sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_datasets() -> Iterator[Any]:
    """The library; its log, and the hub client's, says errors of the gravest kind only."""
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    # It streams into PyTorch's classes where there is one, and would load it for that.
    datasets.config.TORCH_AVAILABLE = False
    before = datasets.logging.get_verbosity(), hub_logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    hub_logging.set_verbosity(hub_logging.CRITICAL)
    try:
        yield datasets
    finally:
        datasets.logging.set_verbosity(before[0])
        hub_logging.set_verbosity(before[1])
