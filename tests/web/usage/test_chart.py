"""The chart of token requests, drawn on the server as SVG."""

from itertools import pairwise

import pytest

from webapp.web.usage.chart import HEIGHT, HEIGHT_MIN, PITCH, draw, scale_top


@pytest.mark.parametrize(
    ("highest", "top"),
    [
        (0, 5),
        (1, 5),
        (5, 5),
        (6, 10),
        (10, 10),
        (11, 12),
        (22, 25),
        (99, 100),
        (100, 100),
        (101, 120),
        (152, 160),
        (999, 1000),
        (1001, 1200),
        (2_345_678, 2_500_000),
    ],
)
def test_the_end_of_a_scale_is_a_round_number(highest: int, top: int) -> None:
    assert scale_top(highest) == top


def test_no_scale_is_too_low_or_much_too_high() -> None:
    tops = [scale_top(highest) for highest in range(1, 20_000)]
    assert all(highest <= top <= max(5, highest * 1.67) for highest, top in enumerate(tops, start=1))
    assert all(before <= after for before, after in pairwise(tops))


def test_bars_start_at_the_axis_and_are_as_high_as_their_counts() -> None:
    drawn = draw([80, 0, 160, 40])
    assert drawn.top == 160
    assert drawn.width == 4 * PITCH
    assert [(bar.x, bar.height) for bar in drawn.bars] == [(1.5, 50), (21.5, 100), (31.5, 25)]
    assert all(bar.y + bar.height == HEIGHT for bar in drawn.bars)


def test_a_single_refusal_is_visible() -> None:
    assert [bar.height for bar in draw([1, 0, 5000]).bars] == [HEIGHT_MIN, HEIGHT]


def test_no_bars_are_drawn_without_requests() -> None:
    assert draw([]).bars == draw([0, 0]).bars == ()
