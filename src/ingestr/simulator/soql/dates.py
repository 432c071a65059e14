"""Knows what SOQL's date words mean on a given day; must not know fields or SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

Span = tuple[date, date]  # first day, and the day after the last


def span(word: str, number: int | None, today: date) -> Span | None:
    """Return the days that a date word covers, or None when there is no such word or no such day.

    Args:
        word: such as `TODAY` or `LAST_N_DAYS`, in upper case.
        number: what follows the colon.
        today: the org's day. Weeks begin on Sunday, fiscal years in January.
    """
    try:
        if number is None:
            return _plain(word.replace("FISCAL_", ""), today)
        return _counted(word.replace("FISCAL_", ""), number, today)
    except (ValueError, OverflowError):
        # Before the year 1 or after 9999.
        return None


def _plain(word: str, today: date) -> Span | None:
    one = timedelta(days=1)
    days = {"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}
    if word in days:
        first = today + days[word] * one
        return first, first + one
    if word == "LAST_90_DAYS":
        return today - 90 * one, today + one
    if word == "NEXT_90_DAYS":
        return today + one, today + 91 * one
    which, _, unit = word.partition("_")
    steps = {"LAST": -1, "THIS": 0, "NEXT": 1}
    start = _UNITS.get(unit)
    if which not in steps or start is None:
        return None
    return start(today, steps[which]), start(today, steps[which] + 1)


def _counted(word: str, number: int, today: date) -> Span | None:
    one = timedelta(days=1)
    days = {
        "LAST_N_DAYS": (today - number * one, today + one),
        "NEXT_N_DAYS": (today + one, today + (number + 1) * one),
        "N_DAYS_AGO": (today - number * one, today - (number - 1) * one),
    }
    if word in days:
        return days[word]
    for unit, start in _UNITS.items():
        spans = {
            f"LAST_N_{unit}S": (-number, 0),
            f"NEXT_N_{unit}S": (1, number + 1),
            f"N_{unit}S_AGO": (-number, 1 - number),
        }
        if word in spans:
            first, last = spans[word]
            return start(today, first), start(today, last)
    return None


def _week(today: date, step: int) -> date:
    return today - timedelta(days=(today.weekday() + 1) % 7) + timedelta(weeks=step)


def _month(today: date, step: int) -> date:
    year, month = divmod(today.year * 12 + today.month - 1 + step, 12)
    return date(year, month + 1, 1)


def _quarter(today: date, step: int) -> date:
    return _month(today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1), 3 * step)


def _year(today: date, step: int) -> date:
    return date(today.year + step, 1, 1)


_UNITS: dict[str, Callable[[date, int], date]] = {"WEEK": _week, "MONTH": _month, "QUARTER": _quarter, "YEAR": _year}
