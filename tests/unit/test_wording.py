"""Estimates as words: two digits, and a unit in which they are short."""

import pytest

from ingestr.core.wording import about_bytes, about_time


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "about 0 kB"),
        (1_234, "about 1.2 kB"),
        (850_400, "about 850 kB"),
        (12_345_678, "about 12 MB"),
        (1_250_000_000, "about 1.2 GB"),
        (3 * 10**15, "about 3,000 TB"),
    ],
)
def test_bytes(number: int, words: str) -> None:
    """Bytes are told in the largest unit of which there is one."""
    assert about_bytes(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "about 1 s"),
        (7.6, "about 8 s"),
        (99.0, "about 99 s"),
        (212.0, "about 3.5 min"),
        (5_000.0, "about 83 min"),
        (43_000.0, "about 12 h"),
    ],
)
def test_time(seconds: float, words: str) -> None:
    """Up to some hundred of a unit are told in it, and nothing takes no time."""
    assert about_time(seconds) == words
