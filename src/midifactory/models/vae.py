"""A variational autoencoder over segments (Kingma and Welling 2014; for music Roberts et al. 2018, MusicVAE).

Legend: B rows, T tokens, V vocabulary, D d_model, R hidden size of one direction, Z latent size.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from midifactory.models.attention import Attention
from midifactory.models.inputs import TokenInput
from midifactory.models.interface import PAD, Conditions, Output, PlaceReader, SequenceModel, State, dropout
from midifactory.models.layers import FeedForward
from midifactory.models.positions import Span, rotary_table
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Block, Transformer, check_heads

Kind = Literal["transformer", "lstm", "gru"]
_KINDS = ("transformer", "lstm", "gru")
# The noise of a new posterior is a seventh of the prior's: at the prior's own the decoder would learn to ignore it.
_FIRST_LOG_VARIANCE = -4.0


class VAE(SequenceModel):
    """An encoder that reads a whole segment, a latent of Z numbers with the prior N(0, I), and a causal decoder.

    With `conditions.latent` it is the decoder alone, a model like any other. Without, in training and for
    likelihoods, it encodes the ids that it is given, draws the latent from their posterior and decodes them; padding
    at the end of a row (id 0) changes nothing. The last label is not among the ids, so the posterior does not know it.

    The posterior's mean is a sum over the tokens of what each of them writes. With places each writes under the code
    of its own, and the decoder reads there under the same code (inputs.PlaceCodes), so that the two need not learn to
    agree on what stands where; without, all write and read alike.

    encoder, decoder: transformer, lstm or gru, of `d_model`; `layers` are the decoder's, `decoder_options` what else
    its class takes. token_dropout: the share of tokens that are hidden from the decoder in training, of which only the
    places stay (word dropout of Bowman et al. 2016). `losses["kl"]` are nats per token: `kl_weight`, rising from 0 over
    `anneal_steps` (Bowman et al. 2016), times the divergence of the posteriors from the prior, where each number of the
    latent has `free_bits` nats without cost (Kingma et al. 2016, averaged over the batch). `statistics["kl_nats"]` (B,)
    is the whole divergence; with the logits' nats it bounds those of a segment from above, on average over the draw.

    The other keywords are those of the decoder. Raises ValueError for sizes and shares that make no model.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder: Kind = "transformer",
        decoder: Kind = "transformer",
        d_model: int = 128,
        layers: int = 2,
        encoder_layers: int = 1,
        heads: int = 4,
        context: int = 1024,
        dropout: float = 0.1,
        tie_embeddings: bool = True,
        decoder_options: Mapping[str, Any] | None = None,
        latent_size: int = 128,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        anneal_steps: int = 0,
        token_dropout: float = 0.0,
        places: PlaceReader | None = None,
        condition_sizes: Sequence[int] = (),
        condition_mode: Literal["added", "prefix"] = "added",
    ):
        super().__init__()
        for name, kind in (("encoder", encoder), ("decoder", decoder)):
            if kind not in _KINDS:
                raise ValueError(f"{name}={kind}: unknown; choose one of {', '.join(_KINDS)}")
        for name, size, least in (
            ("latent_size", latent_size, 1),
            ("encoder_layers", encoder_layers, 1),
            ("kl_weight", kl_weight, 0),
            ("free_bits", free_bits, 0),
            ("anneal_steps", anneal_steps, 0),
        ):
            if not least <= size < math.inf:
                raise ValueError(f"{name}={size}: it must be at least {least}")
        if not 0 <= token_dropout < 1:
            raise ValueError(f"token_dropout={token_dropout}: it must lie in [0, 1)")
        self.encoder_inputs = TokenInput(vocab_size, d_model, places)
        self.next_token = nn.Linear(d_model, d_model, bias=False)
        self.encoder = (
            TransformerEncoder(d_model, encoder_layers, heads, dropout)
            if encoder == "transformer"
            else RecurrentEncoder(encoder, d_model, encoder_layers, dropout)
        )
        self.written = nn.Linear(self.encoder.width, latent_size)
        self.log_variance = nn.Linear(latent_size, latent_size)
        self.initialise(encoder_layers)
        nn.init.constant_(self.log_variance.bias, _FIRST_LOG_VARIANCE)
        shared: dict[str, Any] = {
            "d_model": d_model,
            "layers": layers,
            "dropout": dropout,
            "tie_embeddings": tie_embeddings,
            "places": places,
            "condition_sizes": condition_sizes,
            "condition_mode": condition_mode,
            "latent_size": latent_size,
        }
        options = decoder_options or {}
        self.decoder: SequenceModel = (
            Transformer(vocab_size, **{**shared, "heads": heads, "context": context, **options})
            if decoder == "transformer"
            else Recurrent(vocab_size, **{**shared, "cell": decoder, **options})
        )
        self.decoder.inputs.token_dropout = token_dropout
        self.vocab_size, self.context, self.latent_size = vocab_size, self.decoder.context, latent_size
        self.kl_weight, self.free_bits, self.anneal_steps = kl_weight, free_bits, anneal_steps
        self._share = 1.0

    def anneal(self, step: int) -> None:
        """The share of `kl_weight` in force: it rises linearly to 1 at step `anneal_steps`."""
        self._share = min(1.0, step / self.anneal_steps) if self.anneal_steps else 1.0

    def new_state(self, batch_size: int, capacity: int, padding: Tensor | None = None) -> State:
        """The decoder's."""
        return self.decoder.new_state(batch_size, capacity, padding)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Segments (B, T) -> mean and log variance of their posteriors, (B, Z) each."""
        real = (ids != PAD).flip(1).cumsum(1).flip(1) > 0  # (B, T): a 0 before the end is a token
        after = torch.cat([ids[:, 1:], ids.new_full((len(ids), 1), PAD)], 1)
        inputs = self.encoder_inputs
        following = inputs.tokens(after) * (after != PAD)[..., None]
        # What follows a place is what the decoder will ask there.
        x = inputs(ids, inputs.start(len(ids))) + self.next_token(following)  # (B, T, D)
        written = self.written(self.encoder(x, real)) * real[..., None]  # (B, T, Z)
        codes = cast(TokenInput, self.decoder.inputs).codes
        places = inputs.places(ids, inputs.start(len(ids)))
        if codes is not None and places is not None:
            written = written * codes(places)
        mean = written.sum(1)
        return mean, self.log_variance(mean)

    def forward(self, ids: Tensor, state: Any = None, conditions: Conditions | None = None) -> Output:
        """ids (B, T) -> logits (B, T, V).

        Without a latent the noise of the posterior is torch's global one in training; in evaluation all rows and all
        calls share one draw, so that a likelihood is the same twice and in any batch. Raises ValueError for a state
        without a latent.
        """
        if conditions is not None and conditions.latent is not None:
            return self.decoder(ids, state, conditions)
        if state is not None:
            raise ValueError("a VAE cannot go on from a state without a latent: give conditions.latent")
        mean, log_variance = self.encode(ids)
        if self.training:
            noise = torch.randn_like(mean)
        else:
            noise = torch.randn(mean.shape[1], generator=torch.Generator().manual_seed(0)).to(mean)  # (Z,)
        latent = mean + noise * (0.5 * log_variance).exp()
        labels = conditions.labels if conditions is not None else None
        output = self.decoder(ids, None, Conditions(labels, latent))
        divergence = kl_nats(mean.float(), log_variance.float())  # (B, Z)
        costly = divergence.mean(0).clamp(min=self.free_bits).sum() * len(ids) / (ids != PAD).sum().clamp(min=1)
        output.losses["kl"] = self.kl_weight * self._share * costly
        output.statistics["kl_nats"] = divergence.sum(1)
        return output


class TransformerEncoder(nn.Module):
    """Blocks that look both ways."""

    def __init__(self, d_model: int, layers: int, heads: int, dropout: float):
        super().__init__()
        check_heads(d_model, heads, heads, "rotary")
        self.width, self.head_size = d_model, d_model // heads
        self.blocks = nn.ModuleList(
            Block(
                nn.LayerNorm(d_model),
                Attention(d_model, heads, heads, 0, 0.0, True),
                nn.LayerNorm(d_model),
                FeedForward(d_model, 4 * d_model, "gelu", True),
                dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x (B, T, D), real (B, T) bool -> (B, T, D)."""
        cos, sin = rotary_table(x.shape[1], self.head_size, 10_000.0)
        # A row of nothing but padding sees its first position: nothing but -inf would be NaN.
        seen = real | (torch.arange(x.shape[1], device=x.device) == 0)  # (B, T)
        span = Span((cos[None].to(x), sin[None].to(x)), seen[:, None, None])
        for block in self.blocks:
            x, _ = block(x, span)
        return self.norm(x)


class RecurrentEncoder(nn.Module):
    """An LSTM or GRU in each direction."""

    def __init__(self, cell: Literal["lstm", "gru"], d_model: int, layers: int, dropout: float):
        super().__init__()
        self.width, self.dropout = 2 * d_model, dropout
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        between = dropout if layers > 1 else 0.0
        self.layers = kind(d_model, d_model, layers, batch_first=True, dropout=between, bidirectional=True)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """x (B, T, D), real (B, T) bool -> (B, T, 2 D)."""
        x = dropout(x * x.shape[-1] ** 0.5, self.dropout, self.training)  # scaled as in Recurrent, which says why
        lengths = real.sum(1).clamp(min=1).cpu()
        states, _ = self.layers(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0]


def kl_nats(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The divergence of N(mean, variance) from N(0, 1), number by number, in the shape of the arguments."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
