"""The figures that have a bound as a small SVG: one strip each, a dot a round, the median, and the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from bench.figures import Figure

WIDTH, STRIP, LEFT, RIGHT = 640, 64, 16, 24
_STYLE = "text{font:12px sans-serif;fill:#57606a}.name{font-weight:600}.dot{fill:#0969da;fill-opacity:.5}"


def svg(figures: list[Figure]) -> str:
    """Draw them below each other; readable on light and on dark ground."""
    figures = [each for each in figures if each.bound is not None]
    height = STRIP * len(figures) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img">',
        f"<style>{_STYLE}</style>",
    ]
    for number, figure in enumerate(figures):
        parts += _strip(figure, number * STRIP + 8)
    return "\n".join([*parts, "</svg>", ""])


def _strip(figure: Figure, top: int) -> list[str]:
    scale = (WIDTH - LEFT - RIGHT) / (max(*figure.spread, figure.bound or 0.0, 1e-9) * 1.05)
    axis = top + 36
    label = f"{figure.row}: {figure.name}: {figure.median:.4g} {figure.unit}"
    parts = [
        f'<text class="name" x="{LEFT}" y="{top + 14}">{escape(label)}</text>',
        f'<line x1="{LEFT}" y1="{axis}" x2="{WIDTH - RIGHT}" y2="{axis}" stroke="#afb8c1"/>',
    ]
    parts += [
        f'<circle class="dot" cx="{LEFT + each * scale:.1f}" cy="{axis}" r="5"/>' for each in figure.rounds
    ]
    parts.append(_mark(LEFT + figure.median * scale, axis, "#0969da"))
    if figure.bound is not None:
        at = LEFT + figure.bound * scale
        parts.append(_mark(at, axis, "#cf222e"))
        bound = f"bound {figure.bound:g} {figure.unit}"
        parts.append(f'<text x="{at:.1f}" y="{axis + 20}" text-anchor="end">{escape(bound)}</text>')
    return parts


def _mark(at: float, axis: int, colour: str) -> str:
    ends = f'x1="{at:.1f}" y1="{axis - 9}" x2="{at:.1f}" y2="{axis + 9}"'
    return f'<line {ends} stroke="{colour}" stroke-width="2"/>'
