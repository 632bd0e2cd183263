"""What a swap did: the layers that were swapped, those left alone, and warnings."""

from __future__ import annotations

import dataclasses

from mindpad_mm.padding.kernels import Pads


@dataclasses.dataclass(frozen=True)
class SwappedLayer:
    """A layer that was swapped.

    Attributes:
        name: Qualified name; the first one if the layer is shared.
        kind: Name of its stock class.
        pads: Cells added at the (top, bottom, left, right); None if they depend on the input.
        before, after: Its modes, as text.
    """

    name: str
    kind: str
    pads: Pads | None
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class SkippedLayer:
    """A layer or a line of code that pads, or may pad, but was left alone, and the reason.

    Attributes:
        name: Qualified name of the layer, or of the module whose code pads.
        kind: Name of its class.
        reason: Why it was left alone; for a line of code, where it is.
    """

    name: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f'{self.name or self.kind} ({self.reason})'


@dataclasses.dataclass
class SwapReport:
    """The layers that ``swap_padding`` swapped, and those it left alone. ``str`` gives a table.

    Attributes:
        swapped: The layers that were swapped.
        skipped: The layers and lines of code that pad, or may pad, and were left alone.
        warnings: Further faults of the module's padding, each one sentence.
    """

    swapped: list[SwappedLayer] = dataclasses.field(default_factory=list)
    skipped: list[SkippedLayer] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def summary(self) -> str:
        """One line: the number of layers for each change of mode, the layers left alone, warnings."""
        changes: dict[str, int] = {}
        for layer in self.swapped:
            change = f'{layer.before} -> {layer.after}'
            changes[change] = changes.get(change, 0) + 1
        parts = [f'{count} layers {change}' for change, count in changes.items()]
        if self.skipped:
            names: dict[str, list[str]] = {}
            for left in self.skipped:
                names.setdefault(left.reason, []).append(left.name or left.kind)
            reasons = [f'{", ".join(names[reason])} ({reason})' for reason in names]
            parts.append(f'left alone: {", ".join(reasons)}')
        return '; '.join(parts + self.warnings)

    def __str__(self) -> str:
        rows = [('layer', 'kind', 'pads', 'mode')]
        for layer in self.swapped:
            pads = 'by input' if layer.pads is None else ' '.join(map(str, layer.pads))
            rows.append((layer.name, layer.kind, pads, f'{layer.before} -> {layer.after}'))
        for left in self.skipped:
            rows.append((left.name, left.kind, '', f'left alone: {left.reason}'))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip()
            for row in rows
        ]
        return '\n'.join(lines + self.warnings)
