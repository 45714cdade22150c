"""What `import flows.finetune` costs against `import prefect`: CPU seconds of a process of their own, interleaved.

    python -m benchmarks.imports

Exits 1 above the bound.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

BOUND = 1.3
ROUNDS = 7


def cpu_seconds(statement: str) -> float:
    """CPU seconds, user and system, of a Python process that runs `statement`."""
    before = os.times()
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Measures and prints the ratio of the medians."""
    pairs = [(cpu_seconds("import flows.finetune"), cpu_seconds("import prefect")) for _ in range(ROUNDS)]
    ours, reference = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = ours / reference
    print(f"import flows.finetune {ours:.2f} s, import prefect {reference:.2f} s: ratio {ratio:.2f}, bound {BOUND}")
    return 0 if ratio <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
