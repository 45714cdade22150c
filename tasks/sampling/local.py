"""Files of a folder, a file or a glob on this machine."""

import glob
import os
import stat
from collections.abc import Iterator
from functools import partial
from io import FileIO
from pathlib import Path

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.names import format_of
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
    try:
        pattern = Path(source).expanduser()
        root, paths = _matches(pattern)
        files = [
            DataFile(path.relative_to(root).as_posix(), path.stat().st_size, partial(FileIO, path)) for path in paths
        ]
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceUnavailable(
            f"{source} cannot be read: {getattr(error, 'strerror', None) or str(error).rstrip('.')}. Check the path and its rights."
        ) from error
    for file in files:
        try:
            file.name.encode()
        except UnicodeEncodeError:
            raise SourceUnavailable(f"{source} has a file whose name is no text: {file.name!a}. Rename it.") from None
    if not files:
        raise SourceUnavailable(f"{source} holds no data: there is no file. Check the path.")
    return Tree(str(pattern.absolute()), files, chosen=not pattern.is_dir())


def _matches(pattern: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    if pattern.is_dir():
        return pattern, [path for path in _walk(pattern) if _is_file(path)]
    if glob.has_magic(str(pattern)) and not pattern.exists():
        found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if os.path.isfile(name)]
        return next(part for part in pattern.parents if not glob.has_magic(str(part))), found
    _is_file(pattern)
    _require_file(pattern)
    return pattern.parent, [pattern]


def _is_file(path: Path) -> bool:
    """Whether there is a file; one that would hold rows by its name has to be one."""
    if path.is_file():
        return True
    if format_of(path.name):
        if path.is_symlink() and not os.path.lexists(path.parent / path.readlink()):
            raise SourceUnavailable(
                f"{path} is a symbolic link to {path.readlink()}, which is not there. Download the dataset again, or remove "
                "the link."
            )
        _require_file(path)
    return False


def _require_file(path: Path) -> None:
    kind = path.stat().st_mode
    for is_kind, name in KINDS.items():
        if is_kind(kind):
            raise SourceUnavailable(f"{path} is {name}, not a file. Write its rows to a file, and give that.")


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
            if entry.name not in (".git", ".cache"):
                yield from _below(entry, (*above, real))
        else:
            yield entry
