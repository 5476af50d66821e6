"""Parts of the clients on whom accuracy is measured apart: by history, by the held-out item, by what is new to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Clients and items of at most so many events are measured apart.
FEW_EVENTS = 3
RARE_ITEM = 5


def client_slices(held_out: DataFrame, known: DataFrame, training: DataFrame, items: DataFrame) -> DataFrame:
    """Slices of each client with a held-out item.

    Parameters
    ----------
    held_out
        user_id, item_id: one row a client.
    known
        Distinct user_id, item_id that the client's list is computed from.
    training
        Distinct user_id, item_id that statistics are fitted on.
    items
        silver.items.

    Returns
    -------
    DataFrame
        user_id, item_id and slices (array<string>):

        - "all";
        - "history<=3", "history 4-6", "history>6", by training items of the client, and "history=1" beside the first;
        - "client unseen" in place of these, of whom nothing was fitted on, and "client new" beside it where a list can
          be computed from no event at all, only from attributes;
        - "item unseen" (cold: without a training event), "item<=5", "item 6-20", "item>20", by training clients of the
          held-out item;
        - "category new" where no item of the list's input shares the category path of the held-out one.
    """
    from pyspark.sql import functions as F

    of_client = training.groupBy("user_id").agg(F.count("*").alias("events"))
    of_item = training.groupBy("item_id").agg(F.count("*").alias("clients"))
    category = items.select("item_id", F.concat_ws("\x1f", "categories").alias("category"))
    shown = (
        known.join(category, "item_id").select("user_id", "category").distinct().withColumn("shown", F.lit(1))
    )
    informed = known.select("user_id").distinct().withColumn("informed", F.lit(1))
    events, clients = F.coalesce("events", F.lit(0)), F.coalesce("clients", F.lit(0))
    slices = F.array_compact(
        F.array(
            F.lit("all"),
            F.when(events == 0, "client unseen")
            .when(events <= FEW_EVENTS, f"history<={FEW_EVENTS}")
            .when(events <= 2 * FEW_EVENTS, f"history {FEW_EVENTS + 1}-{2 * FEW_EVENTS}")
            .otherwise(f"history>{2 * FEW_EVENTS}"),
            F.when(events == 1, "history=1"),
            F.when(F.col("informed").isNull(), "client new"),
            F.when(clients == 0, "item unseen")
            .when(clients <= RARE_ITEM, f"item<={RARE_ITEM}")
            .when(clients <= 4 * RARE_ITEM, f"item {RARE_ITEM + 1}-{4 * RARE_ITEM}")
            .otherwise(f"item>{4 * RARE_ITEM}"),
            F.when(F.col("shown").isNull() & (F.col("category") != ""), "category new"),
        )
    )
    return (
        held_out.join(of_client, "user_id", "left")
        .join(informed, "user_id", "left")
        .join(of_item, "item_id", "left")
        .join(category, "item_id", "left")
        .join(shown, ["user_id", "category"], "left")
        .select("user_id", "item_id", slices.alias("slices"))
    )


def slice_sizes(judged: DataFrame) -> dict[str, int]:
    """Number of clients in each slice of :func:`client_slices`."""
    from pyspark.sql import functions as F

    rows = judged.select(F.explode("slices").alias("slice")).groupBy("slice").count().collect()
    return {row["slice"]: row["count"] for row in rows}
