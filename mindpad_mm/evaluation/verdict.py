"""A comparison in a sentence per run: is it better, worse, or is that not decided?"""

from __future__ import annotations

from mindpad_mm.evaluation.comparison import Comparison, EntryResult
from mindpad_mm.evaluation.metrics import Metric


def border_key(comparison: Comparison) -> str:
    """Name of the mAP of the objects next to the border."""
    return f'border_0_{comparison.border_px[0]:g}_mAP'


def verdict(comparison: Comparison) -> list[str]:
    """Sentences on mAP, of all objects and of those next to the border, against the first run."""
    reference, *others = comparison.entries
    size = f'{comparison.test_set.images} images'
    if not others:
        return [f'{reference.name}: mAP {_share(reference.metrics["mAP"])} on {size}.']
    return [_sentence(comparison, entry, size) for entry in others]


def _sentence(comparison: Comparison, entry: EntryResult, size: str) -> str:
    key = border_key(comparison)
    overall, border = entry.differences['mAP'], entry.differences.get(key, Metric(None))
    text = (
        f'{entry.name} against {comparison.reference.name} on {size}: mAP {_change(overall)}, '
        f'{_word(overall)}'
    )
    if border.value is not None:
        within = f'within {comparison.border_px[0]:g} px of the border'
        text += f'; {within} {_change(border)}, {_word(border)}'
    return f'{text}.'


def _word(change: Metric) -> str:
    if change.value == 0 and change.interval in (None, (0, 0)):
        return 'no difference'
    if change.interval is None:
        return 'undecided: too few images or draws for an interval'
    if not change.excludes_zero:
        return 'undecided'
    return 'better' if change.value is not None and change.value > 0 else 'worse'


def _share(metric: Metric) -> str:
    return 'undefined' if metric.value is None else f'{metric.value:.3f}'


def _change(metric: Metric) -> str:
    if metric.value is None:
        return 'undefined'
    text = f'{metric.value:+.3f}'
    return (
        text if metric.interval is None else text + ' [{:+.3f}, {:+.3f}]'.format(*metric.interval)
    )
