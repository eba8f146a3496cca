"""Several models of one kind whose probabilities are averaged: on little data, much of their error is chance.

Legend: B rows, T tokens, V vocabulary, M members.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from midifactory.models.interface import Conditions, Output, SequenceModel, State
from midifactory.models.vae import VAE
from midifactory.targets import load_class


@dataclass
class EnsembleState(State):
    """The members' states."""

    members: list[State]

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """As State says."""
        for member in self.members:
            member.select(rows)

    def join(self, other: "EnsembleState") -> None:
        """As State says."""
        for mine, theirs in zip(self.members, other.members, strict=True):
            mine.join(theirs)


class Ensemble(SequenceModel):
    """`members` models of the class named `member`, each made from its own random weights with the other keywords.

    The average of the members' probabilities is what is evaluated and composed with (a deep ensemble, Lakshminarayanan
    et al. 2017). In training every row goes to one member, drawn anew each time, so that an epoch costs as much as that
    of one model: `data.batch_size` is to be at least `members`, and the epochs as many times as many. Evaluation costs
    `members` times one model's. Raises ValueError for less than one member and for VAEs, and what the members raise.
    """

    def __init__(self, vocab_size: int, member: str, members: int = 4, **keywords: Any):
        super().__init__()
        if members < 1:
            raise ValueError(f"members={members}: must be at least 1")
        kind = load_class(member, SequenceModel, "model.member")
        if issubclass(kind, VAE):
            raise ValueError(f"member={member}: each would draw a latent of its own; train one alone, with model=vae")
        self.members = nn.ModuleList(kind(vocab_size=vocab_size, **keywords) for _ in range(members))
        self.vocab_size, self.context = vocab_size, self._all()[0].context

    def anneal(self, step: int) -> None:
        """Hand the step on to the members."""
        for member in self._all():
            member.anneal(step)

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> EnsembleState:
        """The members' empty states."""
        return EnsembleState([member.new_state(batch_size, capacity, padding) for member in self._all()])

    def forward(self, ids: Tensor, state: EnsembleState | None = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V): log-probabilities of the average; in training those of each row's member."""
        if self.training:
            return self._by_rows(ids, conditions)
        states = [None] * len(self.members) if state is None else state.members
        outputs = [member(ids, own, conditions) for member, own in zip(self._all(), states, strict=True)]
        nats = torch.stack([output.logits.log_softmax(-1) for output in outputs])  # (M, B, T, V)
        return Output(nats.logsumexp(0) - math.log(len(outputs)), state)

    def _by_rows(self, ids: Tensor, conditions: Conditions | None) -> Output:
        # By chance, since a batch's rows come by length. It also says who goes short where rows do not divide.
        count, members = len(ids), self._all()
        places = torch.randperm(-(-count // len(members)) * len(members), device=ids.device)
        order, logits, losses = list[Tensor](), list[Tensor](), dict[str, Tensor]()
        for member, part in zip(members, places.view(len(members), -1), strict=True):
            rows = part[part < count]
            if not len(rows):
                continue
            output = member(ids[rows], None, _select(conditions, rows))
            order.append(rows)
            logits.append(output.logits)
            for name, loss in output.losses.items():
                losses[name] = losses.get(name, loss.new_zeros(())) + loss * len(rows) / count
        return Output(torch.cat(logits)[torch.cat(order).argsort()], losses=losses)

    def _all(self) -> Sequence[SequenceModel]:
        return list(self.members)  # type: ignore[arg-type]


def _select(conditions: Conditions | None, rows: Tensor) -> Conditions | None:
    if conditions is None:
        return None
    labels, latent = (part if part is None else part[rows] for part in (conditions.labels, conditions.latent))
    return replace(conditions, labels=labels, latent=latent)
