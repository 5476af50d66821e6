"""A seeded demo lake of a luxury-retail group, and small research sets for tests."""

from isrf_pipeline.demo.generate import DemoLakeSummary, generate_demo_lake
from isrf_pipeline.demo.research import generate_research_set

__all__ = ["DemoLakeSummary", "generate_demo_lake", "generate_research_set"]
