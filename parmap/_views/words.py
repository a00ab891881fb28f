"""Numbers as people read them."""

from __future__ import annotations

PLURALS = {"crash": "crashes", "task failed": "tasks failed"}


def seconds(value: float) -> str:
    """Return so many seconds with a unit: `"3.2 s"`, `"12 ms"`, `"4.0 us"`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= 0.9995 * size:
            return f"{_three(value / size)} {unit}"
    return f"{_three(value / 1e-6)} us"


def size(value: float) -> str:
    """Return so many bytes with a unit: `"40 MB"`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * step:
            return f"{_three(value / step)} {unit}"
    return f"{value:.0f} bytes"


def factor(value: float) -> str:
    """Return how many times as fast something is: `"1.89"`, `"0.004"`, `"under 0.001"`."""
    if value < 0.001:
        return "under 0.001"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.1g}"


def percent(part: float, whole: float) -> str:
    """Return *part* of *whole* in percent: `"94 %"`."""
    share = 100 * part / whole if whole > 0 else 0.0
    return f"{share:.0f} %" if share >= 9.95 or share < 0.05 else f"{share:.1f} %"


def count(number: int, what: str) -> str:
    """Return *number* of *what*: `"1 task"`, `"1,684 tasks"`."""
    plural = PLURALS.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


def shorten(text: str, width: int) -> str:
    """Return *text* in *width* characters: of a path, say, the end tells more than the middle."""
    if len(text) <= width:
        return text
    end = max(1, 2 * width // 3)
    return f"{text[: width - end - 2]}..{text[-end:]}"


def _three(value: float) -> str:
    """Return *value* with two or three digits."""
    return f"{value:,.0f}" if value >= 19.95 else f"{value:.1f}"
