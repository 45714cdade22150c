"""Files of a folder, a file or a glob on this machine."""

import glob
import os
import stat
from collections.abc import Iterator
from functools import partial
from io import RawIOBase
from pathlib import Path

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.tree import DataFile, Tree

MOST_FILES = 100_000
"""A folder with more is a home directory or a disk, not a dataset."""

KINDS = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def local_tree(source: str) -> Tree:
    """The files below `source`, or the one that it is.

    Raises:
        SourceUnavailable: nothing is there, it is no file, it may not be read, or symbolic links lead around in a circle.
    """
    pattern = Path(source).expanduser()
    try:
        root, paths = _matches(pattern)
        files = [_data_file(path, root) for path in paths]
    except OSError as error:
        raise SourceUnavailable(
            f"{source} cannot be read: {error.strerror or error}. Check the path and its rights."
        ) from error
    if not files:
        raise SourceUnavailable(f"{source} holds no data: there is no file. Check the path.")
    return Tree(str(pattern.absolute()), files, chosen=not pattern.is_dir())


def _matches(pattern: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    if pattern.is_dir():
        return pattern, [path for path in _walk(pattern) if path.is_file()]
    if glob.has_magic(str(pattern)) and not pattern.exists():
        found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if os.path.isfile(name)]
        return _fixed_part(pattern), found
    kind = pattern.stat().st_mode
    for is_kind, name in KINDS.items():
        if is_kind(kind):
            raise SourceUnavailable(f"{pattern} is {name}, not a file. Write its rows to a file, and give that.")
    return pattern.parent, [pattern]


def _fixed_part(pattern: Path) -> Path:
    fixed = [part for part in pattern.parents if not glob.has_magic(str(part))]
    return fixed[0]


def _walk(root: Path) -> Iterator[Path]:
    for found, path in enumerate(_below(root, ()), start=1):
        if found > MOST_FILES:
            raise SourceUnavailable(f"{root} holds more than {MOST_FILES:,} files. Name the dataset's own folder.")
        yield path


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        raise SourceUnavailable(f"{folder} is a symbolic link to a folder above itself. Remove the link.")
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            # What is hidden is not data: `.cache`, `.git`.
            if not entry.name.startswith("."):
                yield from _below(entry, (*above, real))
        else:
            yield entry


def _data_file(path: Path, root: Path) -> DataFile:
    return DataFile(path.relative_to(root).as_posix(), path.stat().st_size, partial(_open, path))


def _open(path: Path) -> RawIOBase:
    return open(path, "rb", buffering=0)
