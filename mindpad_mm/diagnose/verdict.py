"""What all checks together say of a network, what they cannot say, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mmdet.models.detectors.base import BaseDetector
from torch import nn

from mindpad_mm.diagnose.maps import own_mode
from mindpad_mm.diagnose.result import Diagnosis

MEASURE = 'mindpad border CONFIG CHECKPOINT --photos photos/'
"""The command that measures what no check can tell."""
SAFEST = 'circular'
"""The mode that did least harm in all studies, whatever a network was trained with."""


@dataclass(frozen=True)
class Verdict:
    """A verdict.

    Attributes:
        findings: Sentences: what the checks found, and what that is worth.
        advice: Sentences: the one recommendation.
        command: The command that the advice speaks of; empty if there is none.
    """

    findings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    command: str = ''

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON types."""
        return {
            'findings': list(self.findings),
            'advice': list(self.advice),
            'command': self.command,
        }


def verdict(
    model: nn.Module, diagnoses: Iterable[Diagnosis], random: bool = False, command: str = MEASURE
) -> Verdict:
    """The verdict on a network.

    Args:
        model: The network.
        diagnoses: What the checks found.
        random: Whether its weights are random.
        command: The command that measures its border loss.
    """
    own = own_mode(model)
    findings = [each.finding() for each in diagnoses]
    findings = [each for each in findings if each]
    if own is None:
        return Verdict((*findings, 'No layer pads, so there is no padding to swap.'))
    if findings:
        findings.append(
            'That describes the network, not its mistakes: what its padding costs, no check can tell.'
        )
    if random:
        advice = (
            'The weights are random, so there is nothing to cure. Train with objects near borders; then '
            'no padding is shown to be better than that of your framework.',
            'Then measure what borders cost the trained detector, and whether padding is to blame.',
        )
    elif not isinstance(model, BaseDetector):
        advice = (
            'Border loss is measured of detectors; do not swap for a figure of these checks.',
        )
        return Verdict(tuple(findings), advice)
    else:
        advice = (
            'Before you swap anything, measure what borders cost this detector, and whether padding is '
            'to blame.',
        )
        if own != SAFEST:
            advice += (f'If a mode must be tried before that, try {SAFEST}.',)
    return Verdict(tuple(findings), advice, command)
