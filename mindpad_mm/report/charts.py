"""Plotly charts of the scan page without data, which the page's script fills in."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.colors import diverging

# As in heatmap.png: perceptually uniform and suitable for colour-blind readers.
SCORE_COLOURS = 'cividis'
# Red where a score fell, blue where it rose.
CHANGE_COLOURS = diverging.RdBu
# Okabe and Ito's palette, suitable for colour-blind readers, on light and dark backgrounds.
LINE_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00')
FLAGGED = '#9a9a9a'
MARK = '#ff2d92'
_GRID = 'rgba(128, 128, 128, 0.25)'
_COLOUR_BAR = dict(thickness=10, outlinewidth=0, tickformat='.3~f', x=1.01, xpad=2)
_WHERE = 'row %{y}, column %{x}<extra></extra>'


def charts() -> dict[str, dict]:
    """Plotly figures as JSON types, by name.

    - ``score``: map of scores with colours from 0 to 1, and a layer for flagged positions. Its
      shapes are the weakest row, the weakest column and the ring at the current position.
    - ``change``: map of differences with colours from -1 to 1.
    - ``loss``: map of losses, red where the border costs score; the page's script sets the limits.
    - ``profile``: line plot, one line per scan.
    - ``phase``: pattern of the grid with colours from -0.5 to 0.5.
    """
    score = go.Heatmap(
        colorscale=SCORE_COLOURS,
        zmin=0,
        zmax=1,
        colorbar=_COLOUR_BAR,
        hoverongaps=False,
        hovertemplate='score %{z:.4f}<br>IoU %{customdata:.3f}<br>' + _WHERE,
    )
    flagged = go.Heatmap(
        colorscale=[[0, FLAGGED], [1, FLAGGED]],
        showscale=False,
        hoverongaps=False,
        hovertemplate='flagged: the clean scene<br>has a detection here<br>' + _WHERE,
    )
    change = go.Heatmap(
        colorscale=CHANGE_COLOURS,
        zmin=-1,
        zmax=1,
        colorbar=_COLOUR_BAR,
        hoverongaps=False,
        hovertemplate='change %{z:+.4f}<br>' + _WHERE,
    )
    loss = go.Heatmap(
        colorscale=CHANGE_COLOURS[::-1],
        colorbar=_COLOUR_BAR,
        hoverongaps=False,
        hovertemplate='loss %{z:+.4f}<br>' + _WHERE,
    )
    strip = dict(type='line', line=dict(color=MARK, width=2, dash='dot'), visible=False)
    strips = [dict(strip, xref='paper', x0=0, x1=1), dict(strip, yref='paper', y0=0, y1=1)]
    return {
        'score': _map([score, flagged], [*strips, *_ring()]),
        'change': _map([change], _ring()),
        'loss': _map([loss], _ring()),
        'profile': _profile(),
        'phase': _phase(),
    }


def _map(traces: list[go.Heatmap], shapes: list[dict]) -> dict:
    layout = _layout(
        xaxis=_axis('left edge (px)', constrain='domain'),
        # Same scale on both axes; the page's script makes rows count downwards.
        yaxis=_axis('top edge (px)', scaleanchor='x', constrain='domain'),
        margin=dict(l=58, r=46, t=28, b=40),
        modebar=dict(bgcolor='rgba(0, 0, 0, 0)'),
        shapes=shapes,
        hovermode='closest',
    )
    return go.Figure(traces, layout).to_plotly_json()


def _profile() -> dict:
    layout = _layout(
        xaxis=_axis('distance (px)', rangemode='tozero', nticks=5, tickangle=0),
        yaxis=_axis('', range=[0, 1.02]),
        margin=dict(l=34, r=6, t=6, b=40),
        showlegend=False,
        hovermode='x unified',
        dragmode=False,  # so that dragging on a touch screen scrolls the page
    )
    return go.Figure([], layout).to_plotly_json()


def _phase() -> dict:
    pattern = go.Heatmap(
        colorscale=CHANGE_COLOURS,
        zmin=-0.5,
        zmax=0.5,
        colorbar=_COLOUR_BAR,
        hoverongaps=False,
        hovertemplate='row phase %{y} px, column phase %{x} px<br>effect %{z:+.3f}<extra></extra>',
    )
    layout = _layout(
        xaxis=_axis('column phase (px)', constrain='domain'),
        yaxis=_axis('row phase (px)', scaleanchor='x', constrain='domain', autorange='reversed'),
        margin=dict(l=44, r=46, t=8, b=40),
        dragmode=False,
    )  # fmt: skip
    return go.Figure([pattern], layout).to_plotly_json()


def _layout(**options: object) -> go.Layout:
    """A layout with transparent background, for the page's light and dark themes."""
    clear = 'rgba(0, 0, 0, 0)'
    font = dict(size=12, family='system-ui, sans-serif')
    return go.Layout(template='none', paper_bgcolor=clear, plot_bgcolor=clear, font=font, **options)


def _axis(title: str, **options: object) -> dict:
    return dict(
        title=dict(text=title, standoff=6),
        gridcolor=_GRID,
        zeroline=False,
        linecolor=_GRID,
        mirror=True,
        showline=True,
        **options,
    )


def _ring() -> list[dict]:
    """A ring of fixed size in screen pixels, with a white outline to be visible on any colour."""
    around = dict(
        type='circle', xsizemode='pixel', ysizemode='pixel', x0=-8, x1=8, y0=-8, y1=8,
        xanchor=0, yanchor=0,
    )  # fmt: skip
    lines = (dict(color='#fff', width=5), dict(color=MARK, width=2.5))
    return [dict(around, line=line) for line in lines]
