"""Draws lists and held-out items at random and writes what ranx measures on them beside them.

ranx (MIT) is what others measure ranked lists with. It brings seaborn, ir-datasets and thirty more packages, so it is
no requirement of the tests; they read the file that this module wrote in an environment of its own:

    uv run --no-project --with ranx==0.3.21 --with numpy==2.3.5 python tests/integration/ranx_reference.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".json")
CLIENTS, ITEMS, PLACES = 60, 90, 20
CUTOFFS = (5, 10, 20)


def main() -> None:
    """Write the file."""
    from ranx import Qrels, Run, evaluate

    rng = np.random.default_rng(7)
    held_out = {f"u{number}": f"i{rng.integers(ITEMS)}" for number in range(CLIENTS)}
    lists = {}
    for client in held_out:
        # Lists of all lengths; every sixth client has none.
        length = int(rng.integers(1, PLACES + 1)) if rng.random() < 5 / 6 else 0
        lists[client] = [f"i{item}" for item in rng.permutation(ITEMS)[:length]]
        if length and rng.random() < 0.5:
            others = [item for item in lists[client] if item != held_out[client]]
            others.insert(int(rng.integers(len(others) + 1)), held_out[client])
            lists[client] = others[:PLACES]
    names = {f"{ours}@{k}": f"{theirs}@{k}" for ours, theirs in _NAMES.items() for k in CUTOFFS}
    run = {
        client: {item: float(PLACES - place) for place, item in enumerate(items)}
        for client, items in lists.items()
        if items
    }
    values = evaluate(
        Qrels({client: {item: 1} for client, item in held_out.items()}),
        Run(run),
        list(names.values()),
        make_comparable=True,
    )
    measured = {ours: float(values[theirs]) for ours, theirs in names.items()}
    FILE.write_text(json.dumps({"held_out": held_out, "lists": lists, "ranx": measured}) + "\n")


_NAMES = {"HR": "hit_rate", "NDCG": "ndcg", "MRR": "mrr"}

if __name__ == "__main__":
    main()
