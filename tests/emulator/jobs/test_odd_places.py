"""A state folder whose path has a space and a quote in it: every job finds its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azure.ai.ml import dsl

from tests.emulated import pointed_at, running_emulator
from tests.emulator.jobs.commands import reader, wait, writer


def test_a_pipeline_hands_files_on_through_a_path_with_spaces(tmp_path: Path) -> None:
    with running_emulator(tmp_path / "a user's state") as emulator, pointed_at(emulator):
        client = emulator.client()
        write, read = writer(), reader()

        @dsl.pipeline(None, name="odd")
        def odd() -> None:
            read(source=write(text="handed on").outputs.out)

        job: Any = odd()
        job.settings.default_compute = "serverless"
        assert wait(client, client.jobs.create_or_update(job).name) == "Completed"
