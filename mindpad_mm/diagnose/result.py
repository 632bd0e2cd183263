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
    """

    check: ClassVar[str]
    title: ClassVar[str]

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
        """A few sentences with the findings and a recommendation."""
