"""Sampling against the notebook's download script: CPU, peak memory and bytes written. `python -m benchmarks.dataset`

The script is what the notebook runs: for every split `datasets.load_dataset(split="x[0%:5%]")`, then `to_json`. It checks
nothing, hashes nothing and counts nothing; ours does all three. Both run in turn on a dataset that this command makes and
removes, each in a process of its own. Memory is the largest resident set, bytes are those of the files left on the disk.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.dataset_made import make

PERCENT = 5


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu_seconds: float
    memory_mb: float
    written_mb: float


@dataclass(frozen=True)
class Bound:
    """A ratio of ours to the script's that must not be exceeded."""

    what: str
    cost: str
    at_most: float


COLD = [
    Bound("CPU", "cpu_seconds", 0.25),
    Bound("peak memory", "memory_mb", 0.5),
    Bound("bytes written", "written_mb", 0.06),
]
WARM = [Bound("CPU", "cpu_seconds", 0.7), Bound("peak memory", "memory_mb", 0.2)]
FLAT = 1.5
"""Peak memory of our sample of everything against our sample of 5 %."""


def script(data: Path, out: Path, splits: list[str], percent: int) -> None:
    """The notebook's download script."""
    from datasets import load_dataset

    for split in splits:
        load_dataset(str(data), split=f"{split}[0%:{percent}%]").to_json(str(out / f"{split}.jsonl"))


def ours(data: Path, out: Path, splits: list[str], percent: int) -> None:
    """The flow's stage, without Prefect."""
    from tasks.sampling.parameters import DatasetParameters
    from tasks.sampling.sample import sample

    train, validation, test, score = [*splits, None, None, None][:4]
    params = DatasetParameters(
        source=str(data),
        percent=percent,
        train_split=str(train),
        validation_split=validation,
        validation_percent=0,
        test_split=test,
        score_split=score,
    )
    sample(params, out)


RUNNERS = {"script": script, "ours": ours}
WHO = ["ours", "script"]
TRAIN = ["train_sft"]
EVERY_SPLIT = ["train_sft", "train_gen", "test_sft", "test_gen"]


def measure(who: str, data: Path, splits: list[str], percent: int, cache: Path) -> Cost:
    """Runs one of the two in a new process. What it writes is removed, apart from what it leaves in `cache`."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory(dir=data.parent) as out:
        before = _bytes_below(cache)
        os.sync()  # the gigabytes written before would be written to the disk beside it
        command = [sys.executable, "-m", "benchmarks.dataset", "--run", who, str(data), out, str(percent), *splits]
        process = subprocess.Popen(command, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{who} failed: its own error is above.")
        written = _bytes_below(Path(out)) + _bytes_below(cache) - before
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, written / 1e6)


def compare(title: str, bounds: list[Bound], pairs: list[tuple[Cost, Cost]]) -> bool:
    """Prints the medians of `pairs` of ours and the script's; says whether every bound holds."""
    print(f"\n{title}")
    holds = True
    for bound in bounds:
        a, b = (median(getattr(cost, bound.cost) for cost in costs) for costs in zip(*pairs, strict=True))
        ratio = median(getattr(ours, bound.cost) / getattr(theirs, bound.cost) for ours, theirs in pairs)
        holds &= ratio <= bound.at_most
        print(
            f"  {bound.what:<14} {ratio:6.3f} of the script's (at most {bound.at_most}: {_verdict(ratio <= bound.at_most)})"
            f"   ours {a:9.2f}, script {b:9.2f}, {bound.cost.replace('_', ' ')}"
        )
    return holds


def run(scale: float, rounds: int, folder: Path) -> bool:
    """Makes the dataset, measures, and removes everything; says whether every bound holds."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="dataset-benchmark-") as made:
        data, cache = Path(made, "ultrachat"), Path(made, "cache")
        # Made in another process: a child's peak memory is never below that of the process that started it.
        subprocess.run(
            [sys.executable, "-m", "benchmarks.dataset", "--make", str(data), "--scale", str(scale)], check=True
        )
        print(
            f"dataset of {scale:g} times ultrachat_200k's size, {_bytes_below(data) / 1e6:.0f} MB of Parquet; {rounds} rounds"
        )
        cold = []
        for _ in range(rounds):
            mine = measure("ours", data, EVERY_SPLIT, PERCENT, cache)
            shutil.rmtree(cache, ignore_errors=True)
            cold.append((mine, measure("script", data, EVERY_SPLIT, PERCENT, cache)))
        warm = []
        for number in range(rounds):
            # In turns the first: what one leaves in the system's memory the other finds there.
            costs = {who: measure(who, data, TRAIN, 100, cache) for who in (WHO if number % 2 else WHO[::-1])}
            warm.append((costs["ours"], costs["script"]))
    holds = compare(f"{PERCENT} % of all four splits, the script's cache cold", COLD, cold)
    holds &= compare("100 % of train_sft, the script's cache warm", WARM, warm)
    growth = median(mine.memory_mb for mine, _ in warm) / median(mine.memory_mb for mine, _ in cold)
    print(f"\n100 % of train_sft against {PERCENT} %, ours")
    print(f"  {'peak memory':<14} {growth:6.3f} (at most {FLAT}: {_verdict(growth <= FLAT)})")
    return holds and growth <= FLAT


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale", type=float, default=1.0, help="rows, as a share of ultrachat_200k's; bounds are meant for 1"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved pairs of each measurement")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to work; needs 12 GB")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        who, data, out, percent, *splits = options.run
        RUNNERS[who](Path(data), Path(out), splits, int(percent))
    elif options.make:
        make(options.make, options.scale)
    elif not run(options.scale, options.rounds, options.folder):
        sys.exit("A bound does not hold.")


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


if __name__ == "__main__":
    main()
