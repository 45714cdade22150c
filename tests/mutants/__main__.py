"""Makes small wrong changes to copies of the product, one after the other, and tells which ones the tests notice.

`python -m tests.mutants` (`make mutants`) first runs all the tests that are named on the product as it is: a test that is red
anyway notices nothing. The exit status is 0 where at least 95 % are noticed and every change still applies.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.emulated import ROOT
from tests.mutants.mutant import DoesNotApply, Mutant, kept

ENOUGH = 0.95
LONGEST = 240
"""Seconds for a change's tests. A change that makes them hang is noticed, by whoever waits."""
PASSED, FAILED = 0, 1
"""pytest's exit statuses. Any other one is no verdict: nothing was collected, or the changed file cannot be imported."""

PYTEST = ("-m", "pytest", "-q", "--no-header", "--durations=0", "--tb=no", "-p", "no:cacheprovider")


def main(arguments: list[str] | None = None) -> int:
    """Tries every change that is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", metavar="REGEX", default="", help="those whose file or words match")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="only whether every change still applies")
    given = parser.parse_args(arguments)
    chosen = [mutant for mutant in kept() if re.search(given.only, f"{mutant.file} {mutant.wrong}")]
    stale = list(_stale(chosen))
    for reason in stale:
        print(reason, file=sys.stderr)
    if given.check or stale:
        return bool(stale)
    began = time.monotonic()
    with _trees(given.workers) as trees:
        print(f"{len(chosen)} mutants; first their tests on the product as it is ...", flush=True)
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        baseline = subprocess.run(
            [sys.executable, *PYTEST, "--numprocesses", str(given.workers), "--dist", "loadfile", *tests],
            cwd=ROOT, check=False,
        )  # fmt: skip
        if baseline.returncode != PASSED:
            print("The tests fail without any change. Mend them first.", file=sys.stderr)
            return 1
        noticed = _try(chosen, trees)
    minutes = (time.monotonic() - began) / 60
    print(f"{noticed} of {len(chosen)} mutants noticed, in {minutes:.0f} min")
    return noticed < ENOUGH * len(chosen)


def _stale(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Why changes no longer apply."""
    for mutant in mutants:
        try:
            mutant.changed()
        except DoesNotApply as reason:
            yield str(reason)
        for test in mutant.tests:
            if not (ROOT / test.partition("::")[0]).exists():
                yield f"{mutant.wrong}: there is no {test}"


@contextmanager
def _trees(count: int) -> Iterator[SimpleQueue[Path]]:
    """Copies of the product, for so many at a time. What is not committed yet is in them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    files = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    trees: SimpleQueue[Path] = SimpleQueue()
    with TemporaryDirectory(prefix="mutants-") as folder:
        for number in range(count):
            tree = Path(folder) / str(number)
            for file in files:
                if (ROOT / file).is_file():
                    (tree / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / file, tree / file)
            (tree / ".venv").symlink_to(ROOT / ".venv")
            trees.put(tree)
        yield trees


def _try(mutants: Sequence[Mutant], trees: SimpleQueue[Path]) -> int:
    """How many are noticed."""
    noticed = 0
    with ThreadPoolExecutor(trees.qsize()) as pool:
        futures = {pool.submit(_in_a_tree, mutant, trees): mutant for mutant in mutants}
        for number, future in enumerate(as_completed(futures), 1):
            mutant, (verdict, seconds) = futures[future], future.result()
            noticed += verdict == "noticed"
            print(f"{number:>3} {verdict:<10} {seconds:5.1f} s  {mutant.file}: {mutant.wrong}", flush=True)
    return noticed


def _in_a_tree(mutant: Mutant, trees: SimpleQueue[Path]) -> tuple[str, float]:
    """Whether the tests notice the change, and how long that took. The copy is as it was afterwards."""
    tree = trees.get()
    file, began = tree / mutant.file, time.monotonic()
    before = file.read_bytes()
    try:
        file.write_text(mutant.changed(tree), "utf-8")
        return _verdict(tree, mutant), time.monotonic() - began
    finally:
        file.write_bytes(before)
        trees.put(tree)


def _verdict(tree: Path, mutant: Mutant) -> str:
    """In words. What the tests have started ends with them."""
    tests = subprocess.Popen(
        [sys.executable, "-B", *PYTEST, "--exitfirst", *mutant.tests],
        cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        status = tests.wait(LONGEST)
    except subprocess.TimeoutExpired:
        status = FAILED
    finally:
        with suppress(ProcessLookupError):
            os.killpg(tests.pid, signal.SIGKILL)
    return {PASSED: "NOT NOTICED", FAILED: "noticed"}.get(status, "NO VERDICT")


if __name__ == "__main__":
    sys.exit(main())
