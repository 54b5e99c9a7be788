from __future__ import annotations

import pytest

from hpo.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.21, "3.2 s"), (0, "0.0 s"), (-2, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min"), (250, "4 min 10 s"),
        (7200, "2 h"), (7500, "2 h 5 min"), (86399.6, "1 d"), (4 * 86400 + 3700, "4 d 1 h"), (None, "–"),
    ],
)  # fmt: skip
def test_durations_are_as_people_say_them(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
