"""Other recommenders under the same protocol and in the same run, so that figures stand side by side.

docs/architecture.md says where each comes from, how it is tuned and which published figures it is held against.
"""

from isrf_pipeline.evaluation.peers.lists import PeerLists, latest_of_pairs
from isrf_pipeline.evaluation.peers.mllib_als import mllib_als_lists
from isrf_pipeline.evaluation.peers.popularity import popularity_lists
from isrf_pipeline.evaluation.peers.registry import PEERS, require_packages

__all__ = ["PEERS", "PeerLists", "latest_of_pairs", "mllib_als_lists", "popularity_lists", "require_packages"]
