"""Tables of text for terminals, Markdown files and HTML pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mindpad_mm.core.files import written_whole

_WIDTH = 160


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically: a line of headings, then the rows.

    Raises:
        UserError: The file cannot be written.
    """
    with (
        written_whole(path) as temporary,
        open(temporary, 'w', encoding='utf-8', newline='') as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: Headings of the columns.
        rows: One cell per column in every row.
        title: Title of the table; default: none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ''

    def rich(self) -> RichTable:
        """The table for ``rich.console.Console.print``."""
        # Text objects, because rich would read strings as markup.
        title = Text(self.title, 'table.title')
        table = RichTable(title=title or None, box=box.SIMPLE_HEAD)
        for column in self.columns:
            # 'fold' wraps cells in a narrow terminal instead of cutting off digits.
            table.add_column(Text(column), overflow='fold')
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def markdown(self) -> str:
        """The table in Markdown's pipe syntax, below its title."""
        lines = [self.columns, ['---'] * len(self.columns), *self.rows]
        cells = [' | '.join(cell.replace('|', '\\|') for cell in line) for line in lines]
        title = f'{self.title}\n\n' if self.title else ''
        return title + '\n'.join(f'| {line} |' for line in cells) + '\n'

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self.rich())
        return text.getvalue()
