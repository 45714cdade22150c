"""What a file is that is not what its name says."""

from pathlib import PurePosixPath

from tasks.sampling.errors import DatasetError
from tasks.sampling.tree import DataFile

HEAD_BYTES = 512
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

RENAME = "Give it the ending of what it is, or copy it again."
UNPACK = "Unpack it, and give what is in it as the source."
EXPORT = "Export its rows to Parquet or JSON Lines, and give those as the source."

COMPRESSED = {
    ".gz": ("gzip", b"\x1f\x8b"), ".zst": ("Zstandard", b"\x28\xb5\x2f\xfd"), ".bz2": ("bzip2", b"BZh"),
    ".xz": ("xz", b"\xfd7zXZ"), ".lz4": ("LZ4", b"\x04\x22\x4d\x18"),
}  # fmt: skip
"""By the ending of a name, what a file is then and how it begins."""

OFFICE = {
    ".xlsx": "an Excel workbook",
    ".xlsm": "an Excel workbook",
    ".ods": "a spreadsheet",
    ".docx": "a Word document",
}
"""Zip archives that nobody would unpack."""

MAGIC: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"PAR1": (f"a Parquet file by its content. {RENAME}", (".parquet", ".geoparquet", ".gpq")),
    b"ARROW1": (f"an Arrow file by its content. {RENAME}", (".arrow",)),
    **{
        magic: (f"{codec}-compressed by its content. {RENAME}", (ending,))
        for ending, (codec, magic) in COMPRESSED.items()
    },
    b"PK\x03\x04": (f"a zip archive. {UNPACK}", ()),
    b"\xd0\xcf\x11\xe0": (f"a document of older Office. {EXPORT}", ()),
    b"\x89HDF": (f"an HDF5 file. {EXPORT}", ()),
    b"SQLite format 3": (f"an SQLite database. {EXPORT}", ()),
    b"FEA1": (f"a Feather file of the first version. {EXPORT}", ()),
    b"PARE": ("a Parquet file with an encrypted footer. Write it again without encryption.", ()),
    b"%PDF": (f"a PDF document. {EXPORT}", ()),
}
"""By a file's first bytes, what it is, and how its name may end then."""


def kind_of(file: DataFile) -> str | None:
    """The rest of a sentence that begins with the file's name: what it is, and what to do. None where it cannot be told."""
    if file.size == 0:
        return "empty. Copy it again."
    try:
        with file.open() as stream:
            return kind_of_bytes(stream.read(HEAD_BYTES) or b"", file.name)
    except (OSError, DatasetError):
        return None


def kind_of_bytes(head: bytes, name: str) -> str | None:
    """The same, told by the first bytes of what is called `name`."""
    if not head:
        return "empty. Copy it again."
    start = head.removeprefix(BYTE_ORDER_MARK).lstrip().lower()
    if start.startswith(b"version https://git-lfs.github.com/spec"):
        return "a Git LFS pointer: the file's place holder, not its rows. Fetch the rows with `git lfs pull`, and copy it again."
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a page of HTML or XML, perhaps a sign-in page that was saved as a file. Download it again, signed in."
    if head.startswith(b"PK") and (office := OFFICE.get(PurePosixPath(name).suffix.lower())):
        return f"{office}. {EXPORT}"
    for magic, (what, endings) in MAGIC.items():
        if head.startswith(magic) and not name.lower().endswith(endings or "\0"):
            return what
    if head[257:262] == b"ustar":
        return f"a tar archive. {UNPACK}"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        head[:64].strip(b"\0") and 0 in head[:64] and _every_second(head[:64])
    ):
        return "UTF-16 text. Write it as UTF-8."
    for ending, (codec, magic) in COMPRESSED.items():
        if name.lower().endswith(ending) and not head.startswith(magic):
            return f"not {codec}-compressed. Take {ending} off its name, or copy it again."
    if not head.strip(b"\0"):
        return "nothing but zeros, as a broken copy or a full disk leaves it. Copy it again."
    return None


def _every_second(head: bytes) -> bool:
    """Whether every second byte is zero, as in UTF-16 of Latin letters."""
    return len(head) >= 8 and (not any(head[::2]) or not any(head[1::2]))
