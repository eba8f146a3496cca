"""Which experts of a mixture a model uses, and for what: looked at in every validation.

Legend: B rows, T tokens, N real tokens, L layers, E experts, k experts of a token, Y types of tokens.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from midifactory import files
from midifactory.data.batches import IGNORED
from midifactory.models.moe import Experts
from midifactory.tokens.grid import read_tokenizer
from midifactory.tokens.tokenizer import Tokenizer


class ExpertUse(Callback):
    """After every validation, the share of the tokens of each type that each expert of each layer took.

    Writes expert_use.csv and expert_use.png into `folder`, each time anew, and logs every layer's greatest and least
    share: equal ones mean that the load is balanced, a least one of 0 that an expert has died. Does nothing where a
    model has no experts. A merged token (byte pairs) counts as the type of its first part.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._types: list[str] = []
        self._type_of = torch.empty(0, dtype=torch.int64)  # (V,)
        self._counts: Tensor | None = None  # (L, Y, E)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start counting."""
        self._counts = None

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the choices of a batch; outputs: the model's statistics, with `experts` (L, B, T, k)."""
        if not isinstance(outputs, Mapping) or "experts" not in outputs:
            return
        chosen = outputs["experts"]
        count = next(len(module.experts) for module in pl_module.modules() if isinstance(module, Experts))
        if not self._types:
            card: Any = pl_module.card
            self._types, self._type_of = token_types(read_tokenizer(card["tokenizer"]))
        if self._counts is None:
            self._counts = torch.zeros(len(chosen), len(self._types), count, dtype=torch.int64, device=chosen.device)
        real = batch["labels"] != IGNORED  # (B, T)
        types = self._type_of.to(chosen.device)[batch["inputs"][real]]  # (N,)
        cells = types[:, None] * count + chosen[:, real]  # (L, N, k)
        for layer, choices in enumerate(cells):
            self._counts[layer] += choices.flatten().bincount(minlength=self._counts[layer].numel()).view(-1, count)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log and write."""
        if self._counts is None or trainer.sanity_checking:
            return
        counts = trainer.strategy.reduce(self._counts, reduce_op="sum").cpu().numpy()  # (L, Y, E)
        for layer, load in enumerate(counts.sum(1)):
            pl_module.log(f"val/expert_share_greatest_{layer}", float(load.max() / load.sum()))
            pl_module.log(f"val/expert_share_least_{layer}", float(load.min() / load.sum()))
        if trainer.is_global_zero:
            self._write(counts, trainer.global_step)

    def _write(self, counts: np.ndarray, step: int) -> None:
        # Drawing loads matplotlib, which a training without experts has no use for.
        from midifactory.render.heatmap import Shares, save_heatmaps

        used = np.flatnonzero(counts.sum((0, 2)))
        counts, types = counts[:, used], [self._types[index] for index in used]
        totals = counts.sum(-1, keepdims=True)  # (L, Y, 1)
        shares = counts / totals
        experts = [str(expert) for expert in range(counts.shape[2])]
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["layer", "token_type", "choices", *(f"expert_{expert}" for expert in experts)])
        for layer in range(len(counts)):
            for row, type_ in enumerate(types):
                numbers = [f"{share:.4f}" for share in shares[layer, row]]
                writer.writerow([layer, type_, int(totals[layer, row, 0]), *numbers])
        files.write_text(self.folder / "expert_use.csv", table.getvalue())
        panels = {f"layer {layer}": Shares(shares[layer], types, experts) for layer in range(len(counts))}
        title = f"Share of each type's tokens, percent, after {step} steps"
        save_heatmaps(panels, self.folder / "expert_use.png", title, "expert")


def token_types(tokenizer: Tokenizer) -> tuple[list[str], Tensor]:
    """The names of the Y types, and of every model id the index of its (first part's) type, (V,) int64."""
    types = sorted(set(tokenizer.types))
    first = [int(tokenizer.to_base_ids([index])[0]) for index in range(tokenizer.vocab_size)]
    return types, torch.tensor([types.index(tokenizer.types[index]) for index in first])
