"""When a process began, by a clock that nobody sets: with its id it tells a process from a later one of the same id."""

from __future__ import annotations

from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
Birth = str | float


def began(pid: int) -> Birth:
    """On Linux the machine's start and the ticks since then. The time since 1970, which is known elsewhere and was noted by older
    versions, is counted back from the present there: it moves with every setting of the clock.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    import psutil

    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return f"{BOOT.read_text().strip()} {fields[19]}"
    except (FileNotFoundError, ProcessLookupError):
        return psutil.Process(pid).create_time()


def is_same(pid: int, noted: Birth) -> bool:
    """Whether the process `pid` is the one that began at `noted`; one that has ended, and that nobody has reaped, still is."""
    import psutil

    try:
        if isinstance(noted, str):
            return began(pid) == noted
        return abs(psutil.Process(pid).create_time() - noted) < 1.0
    except psutil.NoSuchProcess:
        return False


def lives(pid: int, noted: Birth) -> bool:
    """Whether the process `pid` is the one that began at `noted`, and has not ended."""
    import psutil

    try:
        return is_same(pid, noted) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
