"""The rows of a CSV with the line each began at, and the quotes that were left open in it.

The standard library's parser takes a stray quote for the begin of a cell that goes on over many
lines, and says nothing if it never ends. Here that is an error, or a row that says so.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from ml.data.files import DatasetError


@dataclass
class Lines:
    """The lines of a text, and what a parser has taken of them.

    Args:
        consumed: Since it was last cleared.
        ended: Whether the parser asked for a line when there was none left.
    """

    text: TextIO
    ended: bool = False

    def __post_init__(self) -> None:
        self.consumed: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self.text:
            self.consumed.append(line)
            yield line
        self.ended = True


def csv_rows(text: TextIO, *, name: str, delimiter: str) -> Iterator[tuple[int, list[str], int]]:
    """Every row, the header and empty ones too.

    Returns: the line the row began at, its cells, and how many lines after that one a quote that
        seems to be stray took in (0: none).

    Raises:
        DatasetError: if the text ends inside a quote or a cell is too long.
    """
    lines = Lines(text)
    rows = csv.reader(lines, delimiter=delimiter)
    while True:
        begun = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DatasetError(
                f"{name}: the row of line {begun} can't be read: {error}; is a quote left open?"
            ) from None
        if row is None:
            return
        if lines.ended:
            raise DatasetError(
                f"{name}: a quote is opened in line {begun} and never closed: the file ends inside "
                f"it, in line {rows.line_num}. Close it, or double it and quote the whole cell if "
                "it belongs to the text"
            )
        more = len(lines.consumed) - 1
        yield begun, row, more if more > 0 and _is_stray(lines.consumed, len(row), delimiter) else 0
        lines.consumed.clear()


def _is_stray(lines: list[str], width: int, delimiter: str) -> bool:
    """Whether a row of several lines comes of a quote that should not be there.

    It does if what closes the quote isn't the end of a cell, or if each of two or more lines after
    the first has as many delimiters as a whole row.
    """
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    rest = lines[1:]
    return len(rest) > 1 and width > 2 and all(x.count(delimiter) == width - 1 for x in rest)
