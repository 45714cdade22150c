"""What a reader of CSV passes over in silence: rows of another length than the header, quotes that do not fit."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tasks.sampling.errors import CARD, UnreadableFile, listed

NAMES = {";": "semicolons", "\t": "tabs", "|": "bars"}
MOST_FIELD_BYTES = (1 << 31) - 1


def require_even_rows(path: Path, name: str, options: dict[str, Any]) -> None:
    """Reads the file once by the letter of RFC 4180.

    Args:
        path: the file.
        name: what it is called in a refusal.
        options: pandas' settings of the reader, of which `sep` and `encoding` matter here.

    Raises:
        UnreadableFile: with the row that is not as the others.
    """
    csv.field_size_limit(MOST_FIELD_BYTES)
    separator = options.get("sep") or ","
    encoding = options.get("encoding") or "utf-8-sig"
    number = 0
    try:
        with path.open(encoding=encoding, newline="") as text:
            rows = csv.reader(text, delimiter=separator, strict=True)
            header = next(rows, [])
            _require_columns(header, name)
            for number, row in enumerate(rows, start=1):
                if len(row) not in (0, len(header)):
                    raise UnreadableFile(
                        f"{name} has {len(row)} cells in row {number} and {len(header)} in its header. Quote the cell that "
                        "holds a separator or a line break, or write the rows as JSON Lines."
                    )
    except csv.Error as error:
        if "end of data" in str(error):
            raise UnreadableFile(
                f"{name} has a quote in row {number + 1} that does not end. Close it, or copy the file again from its origin."
            ) from error
        raise UnreadableFile(
            f"{name} has a quote in row {number + 1} that is neither doubled nor the cell's end. Double it, or write the rows "
            "as JSON Lines."
        ) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{name} is not UTF-8. Write it as UTF-8, or name its encoding (encoding: cp1252 is that of Western Windows) in the "
            f"{CARD}."
        ) from error
    except (LookupError, TypeError) as error:
        raise UnreadableFile(
            f"{name} cannot be read with sep {separator!r} and encoding {encoding!r}, as the dataset card says. Mend its "
            "`configs`."
        ) from error


def _require_columns(header: list[str], name: str) -> None:
    if twice := [column for column, count in Counter(header).items() for _ in range(count if count > 1 else 0)]:
        raise UnreadableFile(f"{name} has two columns of one name: {listed(twice)}. Rename one.")
    for separator in NAMES:
        if len(header) == 1 and separator in header[0]:
            raise UnreadableFile(
                f"{name} has one column, {listed(header)}, as if its cells were separated by {NAMES[separator]}. Write it with "
                f"commas, or say so (sep: {json.dumps(separator)}) in the {CARD}."
            )
