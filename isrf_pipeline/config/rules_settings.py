"""Settings of the business rules under which lists are delivered."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from isrf_pipeline.config.section import Section


class ExclusionColumns(Section):
    """Source columns of the list of clients' exclusions."""

    user_id: str = Field(default="user_id", description="Column with the client's identifier.")
    item_id: str = Field(default="item_id", description="Column with the article's identifier.")


class ClientExclusions(Section):
    """A file of articles that single clients must not be offered."""

    path: str = Field(description="File, folder or pattern, one pair of client and article a row.")
    format: Literal["csv", "jsonl", "parquet", "delta"] = Field(description="Format of the files.")
    columns: ExclusionColumns = ExclusionColumns()
    encoding: str = Field(default="UTF-8", description="Encoding of a text file.")


class ExclusionSettings(Section):
    """What nobody is offered, and what single clients are not."""

    items: list[str] = Field(default_factory=list, description="Identifiers of articles.")
    houses: list[str] = Field(default_factory=list, description="Brands or houses, written as in the source.")
    categories: list[str] = Field(
        default_factory=list,
        description="Categories: a name stands for that part of the path at any level, 'Bags > Clutches' for paths "
        "that begin so.",
    )
    clients: ClientExclusions | None = None

    @property
    def active(self) -> bool:
        """Whether anything is excluded."""
        return bool(self.of_items or self.clients)

    @property
    def of_items(self) -> bool:
        """Whether articles are excluded for everybody."""
        return bool(self.items or self.houses or self.categories)


class ReplenishableSettings(Section):
    """Articles that are offered again some time after they were bought."""

    houses: list[str] = Field(default_factory=list, description="Brands or houses, written as in the source.")
    categories: list[str] = Field(
        default_factory=list, description="Categories, as in rules.exclude.categories."
    )
    attributes: dict[str, list[str]] = Field(
        default_factory=dict, description="Values by the name of the attribute."
    )
    after_days: int = Field(
        default=90,
        ge=0,
        description="Days since the client's last event of a type in recommend.exclude_seen after which such an "
        "article may be recommended again.",
    )

    @property
    def active(self) -> bool:
        """Whether anything is replenishable."""
        return bool(self.houses or self.categories or self.attributes)


class PriceBandSettings(Section):
    """The band of prices in which a client has bought so far."""

    outside: Literal["keep", "demote", "remove"] = Field(
        default="keep",
        description="What becomes of articles outside: nothing, behind all others, or left out.",
    )
    event_types: list[str] = Field(
        default_factory=lambda: ["purchase"],
        min_length=1,
        description="Events whose articles' prices are a client's past prices.",
    )
    min_events: int = Field(
        default=3, ge=1, description="Clients with fewer such events of articles with a price have no band."
    )
    low_quantile: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Quantile of the logarithms of past prices where the band begins.",
    )
    high_quantile: float = Field(
        default=0.9, ge=0, le=1, description="Quantile of the logarithms of past prices where the band ends."
    )
    margin: float = Field(
        default=1.5,
        ge=1,
        description="The lower end is divided and the upper end multiplied by this: a step up is no mistake.",
    )

    @property
    def active(self) -> bool:
        """Whether the band decides anything."""
        return self.outside != "keep"

    @model_validator(mode="after")
    def _ends_in_order(self) -> Self:
        if self.low_quantile > self.high_quantile:
            raise ValueError(
                f"low_quantile ({self.low_quantile}) must not lie above high_quantile ({self.high_quantile})"
            )
        return self


class CapSettings(Section):
    """How many places of a list one house or one category may have."""

    house: int | None = Field(
        default=None, ge=1, description="At most so many places for one house; empty: no cap."
    )
    category: dict[int, int] = Field(
        default_factory=dict,
        description="At most so many places for one category, by level of the path: 1 is the broadest.",
    )

    @property
    def active(self) -> bool:
        """Whether anything is capped."""
        return self.house is not None or bool(self.category)

    @field_validator("category")
    @classmethod
    def _levels_and_caps_count_from_one(cls, caps: dict[int, int]) -> dict[int, int]:
        for level, most in caps.items():
            if level < 1 or most < 1:
                raise ValueError(f"levels and caps count from 1, not {level}: {most}")
        return dict(sorted(caps.items()))


class NewArrivalSettings(Section):
    """A quota of places for new arrivals."""

    at_least: int = Field(
        default=0, ge=0, description="At least so many places of a list are new arrivals'; 0: no quota."
    )
    of_first: int | None = Field(
        default=None, ge=1, description="Among so many first places of the list; empty: the whole list."
    )
    days: int = Field(
        default=30, ge=0, description="An article is new for so many days from its first day on sale."
    )
    unseen: Literal["never", "undated", "always"] = Field(
        default="undated",
        description="When an article that no training event has is new as well: never, where its first day on sale is "
        "not known, or whatever that day.",
    )

    @property
    def active(self) -> bool:
        """Whether there is a quota."""
        return self.at_least > 0

    @model_validator(mode="after")
    def _fits_its_places(self) -> Self:
        if self.of_first is not None and self.at_least > self.of_first:
            raise ValueError(f"at_least ({self.at_least}) must not exceed of_first ({self.of_first})")
        return self


class DiversitySettings(Section):
    """Lists whose articles are less alike (maximal marginal relevance)."""

    weight: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Weight of unlikeness to what stands above against the model's score: 1 minus the lambda of the "
        "literature; 0: the score alone.",
    )

    @property
    def active(self) -> bool:
        """Whether likeness counts."""
        return self.weight > 0


class RulesSettings(Section):
    """Business rules of the delivered lists; see docs/rules.md."""

    exclude: ExclusionSettings = ExclusionSettings()
    replenishable: ReplenishableSettings = ReplenishableSettings()
    price_band: PriceBandSettings = PriceBandSettings()
    cap: CapSettings = CapSettings()
    new_arrivals: NewArrivalSettings = NewArrivalSettings()
    diversity: DiversitySettings = DiversitySettings()
    measured: bool = Field(
        default=True,
        description="Whether accuracy and diversity are measured with these rules beside those of the model; takes a "
        "second pass over all clients.",
    )

    @property
    def active(self) -> bool:
        """Whether any of these rules is declared."""
        return self.exclude.active or self.replenishable.active or self.price_band.active or self.reorders

    @property
    def reorders(self) -> bool:
        """Whether any rule gives places in another order than the model's."""
        return (
            (self.price_band.outside == "demote")
            or self.cap.active
            or self.new_arrivals.active
            or self.diversity.active
        )
