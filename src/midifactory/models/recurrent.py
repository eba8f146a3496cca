"""LSTM and GRU language models (Hochreiter & Schmidhuber 1997; Cho et al. 2014)."""

from typing import Literal

from torch import Tensor, nn

from midifactory.models.inputs import TokenInput
from midifactory.models.interface import Conditions, Output, SequenceModel, dropout


class Recurrent(SequenceModel):
    """An embedding, a stack of LSTM or GRU layers, and a (by default tied) output layer.

    Its state has a fixed size however long the piece is, so `context` is None. Embeddings are scaled by sqrt(D)
    (Vaswani et al. 2017, 3.4): weights small enough for the tied output would leave the gates without a signal, and
    the first epoch at the level of a unigram model.
    """

    def __init__(
        self,
        vocab_size: int,
        cell: Literal["lstm", "gru"] = "lstm",
        d_model: int = 256,
        layers: int = 2,
        dropout: float = 0.2,
        tie_embeddings: bool = True,
    ):
        super().__init__()
        self.vocab_size, self.context, self.dropout = vocab_size, None, dropout
        self.inputs = TokenInput(vocab_size, d_model)
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.layers = kind(d_model, d_model, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Linear(d_model, vocab_size)
        self.initialise(layers)
        if tie_embeddings:
            self.head.weight = self.inputs.tokens.weight

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> None:
        """None: torch starts a recurrent stack from zeros."""
        if padding is not None:
            raise ValueError("a recurrent state cannot ignore padding at the start of a row")

    def forward(
        self,
        ids: Tensor,
        state: Tensor | tuple[Tensor, Tensor] | None = None,
        conditions: Conditions | None = None,
    ) -> Output:
        """ids (B, T) -> logits (B, T, V) and the hidden state after the last token."""
        x = self.inputs(ids, [], conditions) * self.inputs.tokens.embedding_dim**0.5  # (B, T, D)
        x = dropout(x, self.dropout, self.training)
        x, state = self.layers(x, state)
        return Output(self.head(dropout(x, self.dropout, self.training)), state)
