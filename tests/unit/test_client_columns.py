"""Every column that names a client says so, and every table of nights says how long they are kept."""

from __future__ import annotations

import pytest

from isrf_pipeline.config.maintenance_settings import MaintenanceSettings
from isrf_pipeline.lake import Table, tables
from isrf_pipeline.lake.existing import declared_tables

#: What columns that hold a client's identifier are called.
_NAMES = ("user_id", "client_id", "client_key", "customer_id", "src", "dst", "subject")
TABLES = declared_tables()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_column_called_like_a_client_declares_how_it_names_one(table: Table) -> None:
    undeclared = [
        column.name for column in table.columns if column.name.endswith(_NAMES) and column.client is None
    ]
    assert undeclared == [], f"{table.name}: erasure would miss these; give them client=ClientReference(...)"


def test_references_tell_clients_from_others() -> None:
    assert dict(tables.VERTICES.client_columns())["id"].prefix == "u:"
    assert {reference.prefix for _, reference in tables.EDGES.client_columns()} == {"u:"}
    assert dict(tables.ANSWERS.client_columns())["subject"].when == ("kind", "user.")
    assert [name for name, _ in tables.SIMILARITY.client_columns()] == ["src", "dst"]


def test_pending_tables_name_the_same_clients() -> None:
    pending = tables.RECOMMENDATIONS.pending
    assert pending.name == "pending.recommendations"
    assert pending.client_columns() == tables.RECOMMENDATIONS.client_columns()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_of_nights_says_how_long_they_are_kept(table: Table) -> None:
    if "run_date" in table.key or table.retention is not None:
        assert table.retention is not None
        assert table.retention.setting in MaintenanceSettings.model_fields
        assert table.retention.column in table.column_names()


def test_parts_of_trained_models_are_known_as_such() -> None:
    learned = {table.name for table in TABLES if table.learned}
    assert learned == {"interests.model", "interests.parameters", "interests.progress"}
