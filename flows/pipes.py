"""A run outlives the worker that reads what it prints."""

from __future__ import annotations

import logging
import os


def outlive_the_reader() -> None:
    """Lets what this process prints go nowhere once nobody reads it. Prefect prints its log by rich, which ends the process then:
    when a worker alone was killed, its runs ended with it, and their jobs."""
    loggers = [logging.getLogger(name) for name in ("", *logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if hasattr(console := getattr(handler, "console", None), "on_broken_pipe"):
            setattr(console, "on_broken_pipe", _print_nowhere)  # noqa: B010 - rich means it to be replaced


def _print_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
