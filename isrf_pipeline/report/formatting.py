"""How numbers, days and names are written throughout the report."""

from __future__ import annotations

import datetime

#: Thin no-break space, which keeps a number and its unit on one line.
_THIN = "\u202f"
_MODEL_NAMES = {"isrf": "ISRF", "popularity": "Popularity", "mllib_als": "MLlib ALS"}
_ORIGIN_NAMES = {
    "prototype": "Prototype of the segment",
    "llm": "Language model",
    "attributes": "Catalogue text",
    "composed": "Composed from articles",
    "history": "No text, history only",
}
_ABSENT = "–"


def count(value: float | None) -> str:
    """Whole number with separators: 1,964."""
    return _ABSENT if value is None else f"{value:,.0f}"


def compact(value: float) -> str:
    """Large number in three digits: 412, 12.4 k, 1.28 M, 3.05 bn."""
    for unit, size in (("bn", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= size:
            scaled = value / (1e3 if unit == "k" else size)
            digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
            return f"{scaled:.{digits}f}{_THIN}{unit}"
    return count(value)


def percent(share: float | None) -> str:
    """Share as per cent: 14.2 %; whole from 100 on."""
    if share is None:
        return _ABSENT
    return f"{share * 100:.0f}{_THIN}%" if share in (0, 1) else f"{share * 100:.1f}{_THIN}%"


def whole_percent(share: float) -> str:
    """Share as per cent without decimals: 72 %."""
    return f"{share * 100:.0f}{_THIN}%"


def decimal(value: float | None, digits: int = 4) -> str:
    """Accuracy and other small values: 0.0612."""
    return _ABSENT if value is None else f"{value:.{digits}f}"


def measure(value: float | None) -> str:
    """A value of unknown kind: whole numbers as such, others with three significant digits or more."""
    if value is None:
        return _ABSENT
    if float(value).is_integer() or abs(value) >= 1000:
        return count(value)
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def weight(value: float) -> str:
    """A chosen setting, as short as it is: 0.1."""
    return f"{value:g}"


def seconds(value: float) -> str:
    """Wall time: 8.4 s, 3 min 05 s, 2 h 07 min."""
    if value < 59.95:
        return f"{value:.1f}{_THIN}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_THIN}min {rest:02d}{_THIN}s"
    return f"{minutes // 60}{_THIN}h {minutes % 60:02d}{_THIN}min"


def day(value: datetime.date) -> str:
    """Day in words: 24 November 2026."""
    return f"{value.day} {value:%B %Y}"


def short_day(value: datetime.date) -> str:
    """Day, short: 24 Nov 2026."""
    return f"{value.day} {value:%b %Y}"


def words(name: str) -> str:
    """Name of a column, stage, rule or measure as words: build_user_graph becomes "build user graph"."""
    return name.replace("_", " ").replace(".", " · ").replace("=", " ")


def model_name(name: str) -> str:
    """Name of a recommender for people."""
    return _MODEL_NAMES.get(name, words(name))


def origin_name(name: str) -> str:
    """Origin of a text for people."""
    return _ORIGIN_NAMES.get(name, words(name))
