"""Files of a folder, a file or a glob on this machine."""

import glob
import hashlib
import os
from collections.abc import Iterator
from functools import partial
from io import RawIOBase
from pathlib import Path

from tasks.sampling.errors import SourceUnavailable
from tasks.sampling.sources import DataFile, Source, by_split


def resolve_local(source: str, splits: list[str]) -> Source:
    """The files of `splits` below `source`. Their names, sizes and times of change stand for a revision.

    Raises:
        SourceUnavailable: nothing is there, it may not be read, or symbolic links lead around in a circle.
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
    found = by_split(source, files, splits, chosen=not pattern.is_dir())
    state = hashlib.sha256()
    for file in (file for its_files in found.values() for file in its_files):
        changed = (root / file.name).stat().st_mtime_ns
        state.update(f"{file.name}\0{file.size}\0{changed}\n".encode(errors="surrogateescape"))
    return Source(id=str(pattern.absolute()), revision=f"files-{state.hexdigest()}", splits=found)


def _matches(pattern: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files."""
    if pattern.is_dir():
        return pattern, list(_walk(pattern, ()))
    if glob.has_magic(str(pattern)) and not pattern.exists():
        found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True)) if not os.path.isdir(name)]
        return _fixed_part(pattern), found
    pattern.stat()
    return pattern.parent, [pattern]


def _fixed_part(pattern: Path) -> Path:
    fixed = [part for part in pattern.parents if not glob.has_magic(str(part))]
    return fixed[0]


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        raise SourceUnavailable(f"{folder} is a symbolic link to a folder above itself. Remove the link.")
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, real))
        else:
            yield entry


def _data_file(path: Path, root: Path) -> DataFile:
    return DataFile(name=path.relative_to(root).as_posix(), size=path.stat().st_size, open=partial(_open, path))


def _open(path: Path) -> RawIOBase:
    return open(path, "rb", buffering=0)
