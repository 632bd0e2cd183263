"""Tables of text, for a terminal, for Markdown and for a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

_WIDTH = 160


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading each.

    Attributes:
        columns: The headings.
        rows: Cells, as many a row as there are columns.
        title: What the table shows; may be empty.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ''

    def rich(self) -> RichTable:
        """For ``rich.console.Console.print``."""
        # As text, a title is never read as markup, either.
        title = Text(self.title, 'table.title')
        table = RichTable(title=title or None, box=box.SIMPLE_HEAD)
        for column in self.columns:
            table.add_column(Text(str(column)), overflow='fold')  # a narrow terminal hides no digit
        for row in self.rows:
            table.add_row(*map(Text, row))  # never read as markup
        return table

    def markdown(self) -> str:
        """A pipe table, its title above it."""
        lines = [self.columns, ['---'] * len(self.columns), *self.rows]
        cells = [' | '.join(str(cell).replace('|', '\\|') for cell in line) for line in lines]
        title = f'{self.title}\n\n' if self.title else ''
        return title + '\n'.join(f'| {line} |' for line in cells) + '\n'

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self.rich())
        return text.getvalue()
