"""What the disk refuses to the flow: the folder and what to do, as the run's own sentence."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.azure_ml.errors import InvalidConfiguration, says_all
from tasks.disk import DiskRefuses, explained, refusal
from tasks.stage import stage
from tests.limits import FULL, NO_POWERS, ROOT, python, without_rights

SAMPLE = f"""
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tasks.sampling.parameters import DatasetParameters
from tasks.sampling.sample import sample
sample(DatasetParameters(source=sys.argv[1], percent=100, test_split=None, score_split=None), Path(sys.argv[2]))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for split in ("train_sft", "test_sft"):
        said = [{"role": "user", "content": f"Who is {split}?"}, {"role": "assistant", "content": "I am."}]
        row = {"prompt": said[0]["content"], "messages": said, "prompt_id": split}
        (folder / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def sampled(source: Path, folder: Path, before: str = "import sys\n") -> str:
    """The last line that a sampling says which the disk refuses."""
    command = [*NO_POWERS, sys.executable, "-c", before + SAMPLE, str(source), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1]


def test_a_sample_that_finds_no_room_says_where(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    # Python looks for its folder for temporary files, and would not find one.
    before = f"import tempfile; tempfile.gettempdir(); {FULL}"
    assert sampled(source, folder, before) == (
        f"tasks.disk.DiskRefuses: {folder} cannot be written to: a file is as long as this process may write it. Raise the limit "
        "(ulimit -f), and run it again."
    )
    assert list(folder.iterdir()) == []


def test_a_sample_that_has_no_right_says_whose_the_folder_is(source: Path, tmp_path: Path) -> None:
    with without_rights(tmp_path / "samples") as folder:
        said = sampled(source, folder)
    assert said.startswith(f"tasks.disk.DiskRefuses: {folder}")
    assert f"the rights of {folder} do not allow it. Give its owner, {folder.owner()}, the right" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "x", "/a/b"),
            "/a/b cannot be written to: no space is left on its disk. Make room there",
        ),
        (OSError(errno.EROFS, "x", "/a/b"), "/a/b cannot be written to: its disk is read-only. Mount it for writing"),
        (OSError("[Errno 28] No space left on device"), "F cannot be written to: no space is left on its disk."),
        (Exception("(sqlite3.OperationalError) database or disk is full"), "F cannot be written to: no space is left"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), "name another in TMPDIR"),
    ],
)
def test_each_refusal_is_a_sentence(error: Exception, said: str) -> None:
    assert said in str(refusal(error, Path("F")))


def test_what_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    assert refusal(FileNotFoundError(2, os.strerror(2), "/a")) is None
    with pytest.raises(InvalidConfiguration), explained(tmp_path):
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise InvalidConfiguration("said already") from error


def test_a_stage_ends_with_the_sentence_and_is_not_tried_again() -> None:
    tries = []

    def sample_dataset() -> None:
        tries.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/part")

    with pytest.raises(DiskRefuses) as refused:
        stage(sample_dataset).fn()
    assert str(refused.value) == (
        "sample dataset failed. /data/part cannot be written to: no space is left on its disk. Make room there, and run it again."
    )
    assert says_all(refused.value)
    assert tries == [1]


def test_a_result_that_could_not_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with without_rights(tmp_path / "results") as folder:
        done = python("flows.finetune", "--result", str(folder / "result.json"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"{folder / 'result.json'} cannot be used: ")
    assert done.stderr.endswith("and name it again.\n")
    assert "Traceback" not in done.stderr + done.stdout
