"""Tags, houses and categories as vertices and edges, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.graphs.attributes import attribute_edges, attribute_vertices, tag_matrix

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark


@pytest.fixture
def edges(spark: SparkSession) -> DataFrame:
    items = [
        ("a", "Maison", ["Women", "Scarves"]),
        ("b", " Maison ", ["Women", "Bags"]),
        ("c", None, ["Women"]),
        ("d", "", None),
    ]
    tags = [("a", ["silk", "gift", "silk"]), ("b", ["gift"]), ("c", []), ("d", ["rain"])]
    return attribute_edges(
        spark.createDataFrame(items, "item_id string, brand string, categories array<string>"),
        spark.createDataFrame(tags, "item_id string, tags array<string>"),
    )


def test_edges_weigh_what_an_attribute_tells(edges: DataFrame) -> None:
    found = {(row.src, row.dst, row.relation): row.weight for row in edges.collect()}
    # Of four items: log(4 / n) / log(4) is 1 for an attribute of one item and 1/2 for one of two.
    assert found == {
        ("i:a", "t:silk", "has_tag"): 1.0,
        ("i:a", "t:gift", "has_tag"): 0.5,
        ("i:b", "t:gift", "has_tag"): 0.5,
        ("i:d", "t:rain", "has_tag"): 1.0,
        ("i:a", "h:Maison", "of_house"): 0.5,
        ("i:b", "h:Maison", "of_house"): 0.5,
        ("i:a", "c:Women > Scarves", "in_category"): 1.0,
        ("i:b", "c:Women > Bags", "in_category"): 1.0,
        ("i:c", "c:Women", "in_category"): 1.0,
        ("c:Women > Scarves", "c:Women", "part_of"): 1.0,
        ("c:Women > Bags", "c:Women", "part_of"): 1.0,
    }


def test_every_end_of_an_edge_is_a_vertex_with_its_kind_and_name(edges: DataFrame) -> None:
    vertices = {row.id: (row.kind, row.label) for row in attribute_vertices(edges).collect()}
    assert vertices == {
        "t:silk": ("tag", "silk"),
        "t:gift": ("tag", "gift"),
        "t:rain": ("tag", "rain"),
        "h:Maison": ("house", "Maison"),
        "c:Women": ("category", "Women"),
        "c:Women > Scarves": ("category", "Women > Scarves"),
        "c:Women > Bags": ("category", "Women > Bags"),
    }


def test_only_tags_that_recur_compare_items(edges: DataFrame) -> None:
    matrix = tag_matrix(edges, np.array(["a", "b", "c"]))
    np.testing.assert_allclose(matrix.toarray(), [[0.5], [0.5], [0]])
    none = tag_matrix(edges.where("relation = 'part_of'"), np.array(["a"]))
    assert none.shape == (1, 0)


def test_an_attribute_of_every_item_tells_nothing(spark: SparkSession) -> None:
    items = spark.createDataFrame(
        [("a", "Maison", []), ("b", "Maison", [])], "item_id string, brand string, categories array<string>"
    )
    tags = spark.createDataFrame([], "item_id string, tags array<string>")
    assert {row.weight for row in attribute_edges(items, tags).collect()} == {0.0}
