"""The files for CRM and marketing platforms, declared: columns, limits, and what each platform asks of a file.

docs/exports.md names the source of each limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from isrf_pipeline.config.export_settings import ExportProfileName

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ExportColumn:
    """One column of a file.

    Attributes
    ----------
    name
        Header, or the dotted path within the JSON of a row.
    source
        SQL expression over the rows that are exported.
    kind
        identifier (never altered: a row with one that breaks a limit is left out), text (shortened to its limit),
        number, date, or structure (JSON only: lists and structs as they are).
    max_length
        UTF-16 units, the larger of the two ways in which platforms count characters; None is no limit.
    max_bytes
        UTF-8 bytes, for identifiers.
    """

    name: str
    source: str
    kind: Literal["identifier", "text", "number", "date", "structure"] = "text"
    max_length: int | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Layout:
    """The characters around the rows of one file.

    Attributes
    ----------
    prefix, suffix
        Begin and end of each file.
    between
        Between two rows.
    after_each
        Behind every row.
    if_empty
        Whether there is a file where there is no row.
    """

    prefix: str = ""
    between: str = ""
    after_each: str = "\n"
    suffix: str = ""
    if_empty: bool = True


@dataclass(frozen=True)
class Profile:
    """One kind of file, as what imports it wants it. All are UTF-8 without a byte order mark.

    Attributes
    ----------
    name
        As ``export.profiles`` names it.
    stem, suffix
        File name; where there is a limit of a file's size, a number of four digits stands between.
    columns
        In their order.
    delimiter
        Between the cells of a row; None where rows are JSON.
    quoted
        Which cells stand in quotes: all, or texts and identifiers only, so that an import can tell numbers from texts.
    max_rows, max_bytes
        Limits of one file.
    max_row_bytes
        Limit of one row; a larger one is left out.
    neutralised
        Whether a text that a spreadsheet would execute gets an apostrophe in front.
    formula_identifiers
        What happens to such an identifier: it is marked in the same way, its row is left out, or it is kept.
    rendered
        Whether texts end up in messages: angle brackets become quotation marks, so that no text brings markup along.
    json_frame
        For JSON: the characters around the rows where a file is more than a list of lines.
    """

    name: str
    stem: str
    suffix: str
    columns: tuple[ExportColumn, ...]
    delimiter: str | None = ","
    quoted: Literal["all", "texts"] = "all"
    max_rows: int | None = None
    max_bytes: int | None = None
    max_row_bytes: int | None = None
    neutralised: bool = True
    formula_identifiers: Literal["marked", "left_out", "kept"] = "left_out"
    rendered: bool = False
    json_frame: Layout | None = None

    @property
    def layout(self) -> Layout:
        """The characters around the rows."""
        if self.delimiter is None:
            return self.json_frame or Layout()
        header = self.delimiter.join(f'"{column.name}"' for column in self.columns)
        return Layout(prefix=f"{header}\r\n", after_each="\r\n")

    @property
    def row_limit(self) -> int | None:
        """Bytes that a row may have so that it fits into a file and breaks no limit of its own."""
        limits = [] if self.max_row_bytes is None else [self.max_row_bytes]
        if self.max_bytes is not None:
            layout = self.layout
            frame = layout.prefix + layout.after_each + layout.suffix
            limits.append(self.max_bytes - len(frame.encode()))
        return min(limits, default=None)

    def limited_to(self, max_bytes: int | None) -> Profile:
        """The same profile with files of at most ``max_bytes``, if that is less than the platform's own limit."""
        given = [limit for limit in (self.max_bytes, max_bytes) if limit is not None]
        return dataclasses.replace(self, max_bytes=min(given, default=None))

    def file_name(self, number: int) -> str:
        """Name of the file of that number, 1 for the first."""
        if self.max_rows is None and self.max_bytes is None:
            return f"{self.stem}{self.suffix}"
        return f"{self.stem}-{number:04d}{self.suffix}"


def profile(name: ExportProfileName, recommendations: int) -> Profile:
    """The profile of that name for rows with so many recommendations.

    Its columns read the rows of :func:`isrf_pipeline.exports.crm.client_lists`.
    """
    return _PROFILES[name](recommendations)


def _places(recommendations: int) -> list[tuple[int, str]]:
    """(1 and up, SQL of that place of a client's list)."""
    return [(place + 1, f"get(listed, {place})") for place in range(recommendations)]


def _crm_csv(recommendations: int) -> Profile:
    columns = [
        ExportColumn("user_id", "user_id", "identifier"),
        ExportColumn("segment_id", "segment_id"),
        ExportColumn("segment_name", "segment_name"),
    ]
    for number, entry in _places(recommendations):
        columns += [
            ExportColumn(f"rec_{number}_item_id", f"{entry}.item_id", "identifier"),
            ExportColumn(f"rec_{number}_title", f"{entry}.title"),
            ExportColumn(f"rec_{number}_reason", f"{entry}.reason"),
        ]
    return Profile("crm_csv", "crm_recommendations", ".csv", tuple(columns), formula_identifiers="marked")


def _crm_jsonl(recommendations: int) -> Profile:
    fields = (
        "rank",
        "item_id",
        "title",
        "reason",
        "score",
        "explicit_share",
        "implicit_share",
        "because_items",
    )
    entry = ", ".join(f"'{field}', r.{field}" for field in fields)
    columns = (
        ExportColumn("run_date", "run_date", "date"),
        ExportColumn("user_id", "user_id", "identifier"),
        ExportColumn("segment_id", "segment_id"),
        ExportColumn("segment_name", "segment_name"),
        ExportColumn(
            "recommendations",
            f"transform(slice(listed, 1, {recommendations}), r -> named_struct({entry}))",
            "structure",
        ),
    )
    return Profile(
        "crm_jsonl",
        "crm_recommendations",
        ".jsonl",
        columns,
        delimiter=None,
        neutralised=False,
        formula_identifiers="kept",
    )


def _sfmc(recommendations: int) -> Profile:
    columns = [
        ExportColumn("SubscriberKey", "user_id", "identifier", max_bytes=254),
        ExportColumn("RunDate", "run_date", "date"),
        ExportColumn("SegmentId", "segment_id", "identifier", max_length=254),
        ExportColumn("SegmentName", "segment_name", max_length=254),
        ExportColumn("RecCount", "size(listed)", "number"),
    ]
    for number, entry in _places(recommendations):
        columns += [
            ExportColumn(f"Rec{number}ItemId", f"{entry}.item_id", "identifier", max_length=254),
            ExportColumn(f"Rec{number}Title", f"{entry}.title", max_length=500),
            ExportColumn(f"Rec{number}Reason", f"{entry}.reason", max_length=1000),
        ]
    return Profile("sfmc", "sfmc_recommendations", ".csv", tuple(columns), rendered=True)


def _attributes(recommendations: int, prefix: str, max_length: int) -> list[ExportColumn]:
    """What Braze and Klaviyo know of a client beside its identifier: one attribute for each field of each place."""
    columns = [
        ExportColumn(f"{prefix}run_date", "run_date", "date"),
        ExportColumn(f"{prefix}segment_id", "segment_id", "identifier", max_length=max_length),
        ExportColumn(f"{prefix}segment_name", "segment_name", max_length=max_length),
        ExportColumn(f"{prefix}rec_count", "size(listed)", "number"),
    ]
    for number, entry in _places(recommendations):
        columns += [
            ExportColumn(
                f"{prefix}rec_{number}_item_id", f"{entry}.item_id", "identifier", max_length=max_length
            ),
            ExportColumn(f"{prefix}rec_{number}_title", f"{entry}.title", max_length=max_length),
            ExportColumn(f"{prefix}rec_{number}_reason", f"{entry}.reason", max_length=max_length),
        ]
    return columns


def _braze(recommendations: int) -> Profile:
    return Profile(
        "braze",
        "braze_attributes",
        ".csv",
        (
            ExportColumn("external_id", "user_id", "identifier", max_length=255),
            *_attributes(recommendations, "isrf_", 255),
        ),
        quoted="texts",
        max_bytes=500 * _MEGABYTE,
        rendered=True,
    )


def _klaviyo(recommendations: int) -> Profile:
    before = '{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":[\n'
    return Profile(
        "klaviyo",
        "klaviyo_profiles",
        ".json",
        (
            ExportColumn("type", "'profile'"),
            ExportColumn("attributes.external_id", "user_id", "identifier", max_length=255),
            *_attributes(recommendations, "attributes.properties.isrf_", 1000),
        ),
        delimiter=None,
        max_rows=10_000,
        max_bytes=5 * _MEGABYTE,
        max_row_bytes=100_000,
        neutralised=False,
        formula_identifiers="kept",
        rendered=True,
        json_frame=Layout(before, ",\n", "", "\n]}}}}\n", if_empty=False),
    )


def _klaviyo_csv(recommendations: int) -> Profile:
    return Profile(
        "klaviyo_csv",
        "klaviyo_profiles",
        ".csv",
        (
            ExportColumn("External ID", "user_id", "identifier", max_length=255),
            *_attributes(recommendations, "isrf_", 1000),
        ),
        quoted="texts",
        max_bytes=50 * _MEGABYTE,
        max_row_bytes=100_000,
        rendered=True,
    )


_PROFILES: dict[ExportProfileName, Callable[[int], Profile]] = {
    "crm_csv": _crm_csv,
    "crm_jsonl": _crm_jsonl,
    "sfmc": _sfmc,
    "braze": _braze,
    "klaviyo": _klaviyo,
    "klaviyo_csv": _klaviyo_csv,
}

#: Campaign audiences, over the rows of :func:`isrf_pipeline.exports.crm.audience_rows`.
AUDIENCES = Profile(
    "audiences",
    "audiences",
    ".csv",
    (
        ExportColumn("campaign_id", "campaign_id", "identifier"),
        ExportColumn("user_id", "user_id", "identifier"),
        ExportColumn("rank", "rank", "number"),
        ExportColumn("score", "score", "number"),
        ExportColumn("reason", "reason"),
    ),
    quoted="texts",
    formula_identifiers="marked",
)

#: Rows that a profile left out, over those of :func:`isrf_pipeline.exports.lines.rejected_rows`.
REJECTED = Profile(
    "rejected",
    "rejected_rows",
    ".csv",
    (
        ExportColumn("profile", "profile"),
        ExportColumn("user_id", "user_id", max_length=1000),
        ExportColumn("column", "column"),
        ExportColumn("rule", "rule"),
    ),
)
