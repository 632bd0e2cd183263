"""What the border study found, in sentences made of its numbers."""

from __future__ import annotations

from mindpad_mm.border import percent, with_interval
from mindpad_mm.border.losses import Estimate
from studies.border_estimates import DISTANCES, NEAR, Group, at, within
from studies.border_grid import CENTRE, DOSES, MARGINS, UNIFORM
from studies.border_results import BorderResults
from studies.traffic_lights import MODES


def decided(found: Estimate, text: str | None = None) -> str:
    """An estimate as text, bold where its interval is above or below 0."""
    text = text or with_interval(found)
    interval = found['interval']
    return f'**{text}**' if interval and (interval[0] > 0 or interval[1] < 0) else text


def lost(group: Group, mode: str | None = None, control: str = '') -> str:
    """The share of objects lost at the border, and in brackets that in the control."""
    lost, anyway = (
        percent(group.estimate(name, mode, at(0))['mean'])
        for name in ('lost_objects', 'lost_in_control')
    )
    return f'{lost} ({anyway} {control}'.strip() + ')'


def border_verdict(results: BorderResults) -> str:
    """The findings, a line each; those whose trainings are missing are left out."""
    blind, seeing = (Group(results, lights, 'zeros') for lights in (CENTRE, UNIFORM))
    if not (blind.cells and seeing.cells):
        return ''
    lines = [_blame(blind, seeing)]
    for group, name in ((blind, 'The blind ones'), (seeing, 'Those that are not blind')):
        changes = {
            mode: group.estimate('cut', mode, within(), against='zeros')
            for mode in MODES
            if mode != 'zeros'
        }
        order = sorted(changes, key=lambda mode: -(changes[mode]['mean'] or 0))
        text = ', '.join(f'{mode} {decided(changes[mode])}' for mode in order)
        lines.append(
            f'**{name}, swapped without training**: change of the score within {NEAR} px: {text}.'
        )
    others = [Group(results, CENTRE, mode) for mode in MODES if mode != 'zeros']
    lines += _each('The blind set, trained in another mode', 'with', [blind, *others], 'mode')
    margins = [Group(results, lights, 'zeros') for lights in MARGINS]
    lines += _rims([group for group in margins if group.cells])
    doses = [Group(results, lights, 'zeros') for lights in DOSES]
    lines += _each('Some lights nearer than 24 px', 'of', doses, 'share')
    return '\n>\n'.join(f'> {line}' for line in lines)


def _blame(blind: Group, seeing: Group) -> str:
    blind_at, seeing_at = (
        {d: with_interval(group.estimate('padding_loss', None, at(d))) for d in DISTANCES}
        for group in (blind, seeing)
    )
    return (
        '**Where lights stood in training decides.** Trained with zeros on lights that stand 24 px or '
        f'more off every border, padding costs {blind_at[0]} of '
        f'{with_interval(blind.estimate("open"))} at the border, {blind_at[12]} at 12 px and '
        f'{blind_at[24]} at 24 px, and {lost(blind, control="in the control")} of the lights at the '
        f'border are lost. Trained on the same lights everywhere: {seeing_at[0]} at the border, '
        f'{seeing_at[12]} at 12 px, {lost(seeing)} lost.'
    )


def _each(title: str, word: str, groups: list[Group], what: str) -> list[str]:
    """Padding loss within :data:`NEAR` of several settings; none where nothing but zeros is measured."""
    measured = [group for group in groups if group.cells]
    if all(group.mode == 'zeros' and not group.lights.share for group in measured):
        return []
    parts = []
    for group in measured:
        name = group.mode if what == 'mode' else percent(group.lights.share)
        found = decided(group.estimate('padding_loss', None, within()))
        parts.append(
            f'{word} {name} {found} of {group.estimate("open")["mean"]:.2f} ({_seeds(group)})'
        )
    return [f'**{title}**: padding costs, within {NEAR} px, {"; ".join(parts)}.']


def _rims(groups: list[Group]) -> list[str]:
    if len(groups) < 2:
        return []
    parts = []
    for group in groups:
        losses = [decided(group.estimate('padding_loss', None, at(d))) for d in (8, 16, 24, 32)]
        parts.append(f'{group.lights.margin} px ({_seeds(group)}): {", ".join(losses)}')
    return [
        f'**How wide the rim is**: padding loss at 8, 16, 24 and 32 px, by margin: {"; ".join(parts)}.'
    ]


def _seeds(group: Group) -> str:
    count = len(group.cells)
    return f'{count} seed{"s" * (count > 1)}'
