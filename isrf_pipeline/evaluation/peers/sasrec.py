"""The peer sasrec: self-attention over item identities in the order of events, trained with a sampled softmax."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import SasRecSettings
from isrf_pipeline.evaluation.peers.histories import Histories, best_codes

#: Clients that are scored at once: 50 MB of scores at 12,000 items.
_CLIENTS_OF_A_BLOCK = 1024


class SasRec:
    """Self-attentive sequential recommendation with the loss that the reproducibility studies recommend.

    The architecture is that of Kang and McAuley (ICDM 2018); its binary loss against one negative is replaced by a
    softmax against many, corrected for how they are drawn, which is what its accuracy hangs on (Klenitskiy and
    Vasilev, RecSys 2023; Petrov and Macdonald, gSASRec, RecSys 2023).

    Parameters
    ----------
    settings
        Shape and pace.
    told
        Called after each epoch with its number, mean loss and seconds.
    """

    def __init__(
        self, settings: SasRecSettings, told: Callable[[int, float, float], None] | None = None
    ) -> None:
        self._settings = settings
        self._told = told

    def check(self, n_items: int) -> None:
        """Memory grows with the items' vectors alone: no bound."""

    def fit(self, training: Histories, n_items: int) -> None:
        """Train on clients' histories; the same input, seed and number of threads give the same network."""
        import torch

        from isrf_pipeline.evaluation.peers.self_attention import SelfAttentionNetwork
        from isrf_pipeline.sequences.next_item import Phase, train_phase

        # Spark gives a worker one thread for numeric libraries; no other task of this stage wants the cores.
        torch.set_num_threads(os.cpu_count() or 1)
        torch.manual_seed(self._settings.seed)
        generator = np.random.default_rng(self._settings.seed)
        self.network = SelfAttentionNetwork(n_items, self._settings)
        phase = Phase(training.codes, training.lengths, self._settings.epochs)
        train_phase(self.network, n_items, phase, self._settings, generator, self._told)
        self.network.eval()

    def recommend(self, known: Histories, top_n: int) -> NDArray[np.int32]:
        """Rank all items by the cosine with the state after a client's last item."""
        import torch

        from isrf_pipeline.sequences.model import newest_steps

        n_items = self.network.identity.num_embeddings
        owned = known.matrix(n_items)
        # Reversed as a whole, clients stand from last to first, each newest first.
        rows, counted = newest_steps(known.codes[::-1], known.lengths[::-1], self._settings.steps)
        rows, counted = rows[::-1], counted[::-1]
        lists = [np.empty((0, min(top_n, n_items)), np.int32)]
        with torch.inference_mode():
            vectors = torch.nn.functional.normalize(self.network.items(torch.arange(n_items)), dim=-1)
            for start in range(0, len(rows), _CLIENTS_OF_A_BLOCK):
                block = slice(start, start + _CLIENTS_OF_A_BLOCK)
                states = self.network(torch.from_numpy(rows[block].copy()))
                last = states[torch.arange(len(states)), torch.from_numpy(counted[block] - 1)]
                scores = torch.nn.functional.normalize(last, dim=-1) @ vectors.T
                lists.append(best_codes(scores.numpy(), owned[block], top_n))
        return np.concatenate(lists)
