"""The common interface of the results of all checks."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from matplotlib.figure import Figure

from mindpad_mm.core.tables import Table


class Diagnosis(abc.ABC):
    """The result of one check: statistics, a figure and advice.

    Attributes:
        check: Key in ``diagnosis.json`` and stem of the PNG file.
        title: Heading.
        worth: How the figures relate to padding loss, the confidence that padding costs near borders.
    """

    check: ClassVar[str]
    title: ClassVar[str]
    worth: ClassVar[str] = 'These figures have not been compared with padding loss.'

    @abc.abstractmethod
    def table(self) -> Table:
        """The main statistics."""

    @abc.abstractmethod
    def plot(self) -> Figure:
        """The figure."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All statistics as JSON types; None where one is undefined."""

    @abc.abstractmethod
    def advice(self) -> str:
        """The findings in a few sentences."""

    def finding(self) -> str:
        """The finding in a sentence of the verdict on all checks; empty: it has no part in that."""
        return ''
