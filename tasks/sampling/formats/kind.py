"""What a file is that is not what its name says."""

from tasks.sampling.errors import DatasetError
from tasks.sampling.tree import DataFile

HEAD_BYTES = 512


def kind_of(file: DataFile) -> str | None:
    """The rest of a sentence that begins with the file's name: what it is, and what to do. None where it cannot be told."""
    if file.size == 0:
        return "empty. Copy it again."
    try:
        with file.open() as stream:
            head = stream.read(HEAD_BYTES) or b""
    except (OSError, DatasetError):
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"version https://git-lfs.github.com/spec"):
        return "a Git LFS pointer: the file's place holder, not its rows. Fetch the rows with `git lfs pull`, and copy it again."
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a page of HTML or XML, perhaps a sign-in page that was saved as a file. Download it again, signed in."
    for magic, (name, endings) in MAGIC.items():
        if head.startswith(magic) and not file.name.endswith(endings):
            return f"{name} by its content. Give it the ending of what it is, or copy it again."
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16 text. Write it as UTF-8."
    if not head.strip(b"\0"):
        return "nothing but zeros, as a broken copy or a full disk leaves it. Copy it again."
    return None


MAGIC: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"PAR1": ("a Parquet file", (".parquet", ".geoparquet", ".gpq")),
    b"PK\x03\x04": ("a zip archive", (".zip",)),
    b"\x1f\x8b": ("gzip-compressed", (".gz",)),
    b"\x28\xb5\x2f\xfd": ("Zstandard-compressed", (".zst",)),
    b"BZh": ("bzip2-compressed", (".bz2",)),
    b"\xfd7zXZ": ("xz-compressed", (".xz",)),
    b"ARROW1": ("an Arrow file", (".arrow",)),
    b"\x89HDF": ("an HDF5 file", (".h5", ".hdf5")),
    b"SQLite format 3": ("an SQLite database", (".sqlite",)),
    b"%PDF": ("a PDF document", (".pdf",)),
}
"""By a file's first bytes, what it is and how its name ends then."""
