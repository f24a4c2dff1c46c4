"""Units of scale."""

import pytest

from model.scale import whole_levels


@pytest.mark.parametrize(
    ("level_range", "expected"),
    [
        ((0.0, 3.0), (0, 1, 2, 3)),
        ((0.0, 3.9), (0, 1, 2, 3)),
        ((0.0, 7.999987), tuple(range(9))),  # what many patches of 0 to 8 reach
        ((0.005, 1.0), (0, 1)),
        ((0.5, 1.5), (1,)),
        ((0.2, 0.8), ()),
        ((-1.0, 0.0), (-1, 0)),
    ],
)
def test_whole_levels(level_range: tuple[float, float], expected: tuple[float, ...]) -> None:
    assert whole_levels(level_range) == expected


def test_whole_levels_up_to_another() -> None:
    assert whole_levels((0.0, 8.0), 4.2) == (0, 1, 2, 3, 4)
    assert whole_levels((0.0, 8.0), 3.999) == (0, 1, 2, 3, 4)
    assert whole_levels((2.0, 8.0), 1.0) == ()
