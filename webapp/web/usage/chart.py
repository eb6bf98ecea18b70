"""Compute bar charts for inline SVG, which needs no inline style or script under our policy (W15)."""

from collections.abc import Sequence
from dataclasses import dataclass

BAR_WIDTH, PITCH = 7, 10
HEIGHT = 100
HEIGHT_MIN = 3
"""A shorter bar would be invisible: one refusal among thousands must be seen."""
TOP_MIN = 5
_STEPS = (10, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in units of the drawing."""

    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart with its own scale.

    :param top: the value of a bar of full height.
    :param width: the width of the drawing; its height is `HEIGHT`.
    :param bars: the bars of values above 0.
    """

    top: int
    width: int
    bars: tuple[Bar, ...]


def draw(values: Sequence[int]) -> Bars:
    """Return the chart of these counts, from left to right."""
    top = scale_top(max(values, default=0))
    heights = [round(max(value * HEIGHT / top, HEIGHT_MIN), 2) if value else 0 for value in values]
    margin = (PITCH - BAR_WIDTH) / 2
    return Bars(
        top,
        PITCH * len(values),
        tuple(
            Bar(PITCH * place + margin, round(HEIGHT - height, 2), height)
            for place, height in enumerate(heights)
            if height
        ),
    )


def scale_top(highest: int) -> int:
    """Return the smallest round number that is not below the highest count, at least 5, for the end of the scale."""
    if highest <= TOP_MIN:
        return TOP_MIN
    unit = int(10 ** max(len(str(highest - 1)) - 2, 0))
    return next(step * unit for step in _STEPS if step * unit >= highest)
