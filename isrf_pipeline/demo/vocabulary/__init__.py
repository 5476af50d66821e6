"""Words for the demo catalogue, one module for each theme."""

from isrf_pipeline.demo.vocabulary.alpine import ALPINE
from isrf_pipeline.demo.vocabulary.fragrance import FRAGRANCE
from isrf_pipeline.demo.vocabulary.jewellery import JEWELLERY
from isrf_pipeline.demo.vocabulary.kinds import Kind, Theme, Voice
from isrf_pipeline.demo.vocabulary.resort import RESORT
from isrf_pipeline.demo.vocabulary.street import STREET
from isrf_pipeline.demo.vocabulary.tailoring import TAILORING
from isrf_pipeline.demo.vocabulary.travel import TRAVEL
from isrf_pipeline.demo.vocabulary.watchmaking import WATCHMAKING

THEMES: tuple[Theme, ...] = (
    TAILORING,
    JEWELLERY,
    TRAVEL,
    STREET,
    WATCHMAKING,
    FRAGRANCE,
    RESORT,
    ALPINE,
)

__all__ = ["Kind", "THEMES", "Theme", "Voice"]
