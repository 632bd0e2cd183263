"""What every check of the diagnosis gives back."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from matplotlib.figure import Figure

from mindpad_mm.core.tables import Table


class Diagnosis(abc.ABC):
    """The outcome of one check: figures, a picture, and what to do about it.

    Attributes:
        check: Its key in ``diagnosis.json`` and the stem of its PNG.
        title: For a heading.
    """

    check: ClassVar[str]
    title: ClassVar[str]

    @abc.abstractmethod
    def table(self) -> Table:
        """The figures a reader wants to see."""

    @abc.abstractmethod
    def plot(self) -> Figure:
        """The picture."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All figures, as JSON types; None where one is undefined."""

    @abc.abstractmethod
    def advice(self) -> str:
        """In plain words: what was found and what to do, a few sentences."""
