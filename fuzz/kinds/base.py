"""The base class of kinds of inputs."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from fuzz.outcome import Outcome


class Kind(ABC):
    """One kind of input that users give.

    Args:
        folder: Folder for what all cases start from; it is made once, and only read by cases.

    Attributes:
        title: What is mutated, for the table.
        weight: Cases a round; those of fast kinds are more.
    """

    title: ClassVar[str]
    weight: ClassVar[int] = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run(self, rng: random.Random) -> tuple[str, Outcome]:
        """Mutate an input, use it and judge the outcome.

        Args:
            rng: Decides everything; equal ones give equal cases. Files may be written to the current
                folder, which is removed after the case.

        Returns:
            The name of the mutation, and the outcome.
        """
