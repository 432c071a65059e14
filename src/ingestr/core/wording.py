"""Words for people: numbers with their nouns. Knows nothing of what is counted."""


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def about_bytes(number: int) -> str:
    """``about 850 kB``, ``about 1.2 GB``: two digits, as an estimate has no more."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if number >= size:
            return f"about {_two_digits(number / size)} {unit}"
    return f"about {_two_digits(number / 1_000)} kB"


def about_time(seconds: float) -> str:
    """``about 1 s``, ``about 25 s``, ``about 3.5 min``, ``about 12 h``."""
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= 99.5 * size / 60:
            return f"about {_two_digits(seconds / size)} {unit}"
    return f"about {_two_digits(max(1, round(seconds)))} s"


def _two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):,g}"


def clock_time(seconds: float) -> str:
    """``0:07``, ``12:03``, ``3:00:59``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
