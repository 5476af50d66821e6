"""Settings of the sources and of the rules that their rows must keep."""

from __future__ import annotations

import datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from isrf_pipeline.config.section import Section


class ColumnMapping(Section):
    """Source columns of one interaction source."""

    user_id: str = Field(default="user_id", description="Column with the client's identifier.")
    item_id: str = Field(default="item_id", description="Column with the article's identifier.")
    ts: str = Field(default="ts", description="Column with the time of the event.")


class InteractionSource(Section):
    """One source of interactions, all of the same event type."""

    name: str = Field(description="Name of the source, shown in quarantine and reports; each is used once.")
    path: str = Field(
        description="File, folder or pattern, relative to the working folder, or an object-store address."
    )
    format: Literal["csv", "jsonl", "parquet", "delta"] = Field(description="Format of the files.")
    event_type: str = Field(
        description="Event type of all its rows; must have a weight in ingest.event_weights."
    )
    columns: ColumnMapping = ColumnMapping()
    amount_column: str | None = Field(
        default=None, description="Column whose negative values break the rule negative_price."
    )
    encoding: str = Field(default="UTF-8", description="Encoding of a text file.")


class ItemColumns(Section):
    """Source columns of the catalogue; None means that the source has no such column."""

    item_id: str = Field(default="item_id", description="Column with the article's identifier.")
    title: str = Field(default="title", description="Column with the title.")
    brand: str | None = Field(default=None, description="Column with the brand or house.")
    categories: str | None = Field(default=None, description="Column with the category path.")
    description: str | None = Field(default=None, description="Column with the description.")
    price: str | None = Field(default=None, description="Column with the price.")
    available: str | None = Field(
        default=None, description="Column that says whether the article may be recommended."
    )
    launched_on: str | None = Field(default=None, description="Column with the first day on sale.")
    attributes: list[str] = Field(
        default_factory=list, description="Further columns kept as named attributes."
    )


class ItemSource(Section):
    """The catalogue."""

    path: str = Field(description="File, folder or pattern of the catalogue.")
    format: Literal["csv", "jsonl", "parquet", "delta"] = Field(description="Format of the files.")
    columns: ItemColumns = ItemColumns()
    encoding: str = Field(default="UTF-8", description="Encoding of a text file.")


class ClientColumns(Section):
    """Source columns of the client file."""

    user_id: str = Field(default="user_id", description="Column with the client's identifier.")
    consent: str | None = Field(
        default=None, description="Column with the marketing consent; none means that no client has given it."
    )
    attributes: list[str] = Field(
        default_factory=list, description="Allow-listed columns; all others are not even read."
    )


class ClientSource(Section):
    """The client file."""

    path: str = Field(description="File, folder or pattern of the client file.")
    format: Literal["csv", "jsonl", "parquet", "delta"] = Field(description="Format of the files.")
    columns: ClientColumns = ClientColumns()
    encoding: str = Field(default="UTF-8", description="Encoding of a text file.")


class ResearchSource(Section):
    """A research set in the format of the benchmark (interactions.csv.gz and items.jsonl.gz)."""

    path: str = Field(description="Folder with interactions.csv.gz and items.jsonl.gz.")
    shuffle_ties: int | None = Field(
        default=None, description="Seed that shuffles each client's events of one day."
    )


class IngestSettings(Section):
    """Sources and the rules their rows must keep."""

    interactions: list[InteractionSource] = Field(default_factory=list)
    items: ItemSource | None = None
    clients: ClientSource | None = None
    research: ResearchSource | None = None
    event_weights: dict[str, float] = Field(
        default_factory=lambda: {"purchase": 1.0, "wishlist": 0.6, "view": 0.3},
        description="Weight of each event type; a source with another type is refused.",
    )
    earliest_event: str = Field(
        default="2000-01-01", description="Events before this day are impossible timestamps."
    )
    max_text_chars: int = Field(
        default=4000,
        ge=100,
        description="Longer titles, descriptions, brands, category paths or attributes break the rule overlong_text.",
    )
    max_id_chars: int = Field(default=256, ge=8, description="Longer identifiers break the rule overlong_id.")
    max_row_chars: int = Field(
        default=1_000_000,
        ge=10_000,
        description="Longer rows break the rule overlong_row; quarantine keeps their beginning, length and hash.",
    )
    as_of_night: bool = Field(
        default=False,
        description="Leave out what was not known at the end of the night: later events, and articles launched later. "
        "For sources that go on growing while the night runs; isrf backfill sets it. Else a later event breaks the "
        "rule future_timestamp.",
    )
    max_quarantine_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Above this share of a source's rows the run stops with exit code 3.",
    )

    @model_validator(mode="after")
    def _event_types_have_weights(self) -> IngestSettings:
        for source in self.interactions:
            if source.event_type not in self.event_weights:
                raise ValueError(
                    f"event type '{source.event_type}' of source '{source.name}' has no weight "
                    "in ingest.event_weights"
                )
        if self.research is not None and (self.interactions or self.items or self.clients):
            raise ValueError("ingest.research cannot be combined with other sources")
        return self

    @field_validator("earliest_event")
    @classmethod
    def _is_a_day(cls, text: str) -> str:
        try:
            datetime.date.fromisoformat(text)
        except ValueError:
            raise ValueError("must be a day as YYYY-MM-DD") from None
        return text

    @model_validator(mode="after")
    def _weights_and_names_fit(self) -> Self:
        bad = [name for name, weight in self.event_weights.items() if weight <= 0]
        if bad:
            raise ValueError(f"event_weights of {', '.join(bad)} must be above 0")
        names = [source.name for source in self.interactions]
        for source in self.interactions:
            if names.count(source.name) > 1:
                raise ValueError(f"two interaction sources are named '{source.name}'")
        return self
