"""Music through a latent: files become a latent per segment, latents become segments, one after another, of one piece.

Legend: S segments of a piece, B rows, Z latent size, T tokens.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from symusic import Score
from torch import Tensor

from midifactory.errors import UserError
from midifactory.generation.engine import Engine, Row
from midifactory.generation.guide import MusicGuide
from midifactory.generation.sampling import Sampling
from midifactory.generation.stream import Work, perform
from midifactory.models.interface import SequenceModel
from midifactory.models.vae import VAE
from midifactory.tokens.grammar import RESTS
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.tokens.walk import Walk

_ROWS_AT_ONCE = 64


def require_latent(model: SequenceModel, command: str) -> VAE:
    """The model, if it has a latent. Raises UserError otherwise."""
    if not isinstance(model, VAE):
        without = ", or add keep=rhythm, harmony or contour, which need none" if command == "vary" else ""
        raise UserError(
            f"{command} needs a model with a latent, this checkpoint holds a {type(model).__name__}; "
            f"train one with experiment=vae_chorales or model=vae, and give checkpoint=...{without}"
        )
    return model


def takes_segments(tokenizer: Tokenizer) -> bool:
    """Whether pieces can be spliced of segments decoded each by itself: where every bar has a token of its own."""
    plain = tokenizer.vocab_size == tokenizer.base_vocab_size
    return tokenizer.scheme == "REMI" and plain and tokenizer.has_grammar


@torch.inference_mode()
def encode_segments(model: VAE, segments: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Segments of ids (T,) -> mean and standard deviation of their posteriors, (S, Z) each."""
    device = next(model.parameters()).device
    means, deviations = [], []
    for start in range(0, len(segments), _ROWS_AT_ONCE):
        rows = [torch.as_tensor(ids, dtype=torch.int64) for ids in segments[start : start + _ROWS_AT_ONCE]]
        mean, log_variance = model.encode(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device))
        means.append(mean)
        deviations.append((0.5 * log_variance).exp())
    return torch.cat(means), torch.cat(deviations)


def between(a: Tensor, b: Tensor, share: float, spherical: bool = True) -> Tensor:
    """Latents (..., Z) at `share` of the way from a to b; both ends are exact.

    Spherical: along the great circle of the two directions (Shoemake 1985), the length of the vectors growing
    evenly. In many dimensions a prior's draws lie near a sphere, which a straight line would leave (White 2016).
    """
    if share in (0.0, 1.0):
        return b if share else a
    straight = torch.lerp(a, b, share)
    if not spherical:
        return straight
    lengths = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    one, other = (x / length.clamp(min=1e-9) for x, length in zip((a, b), lengths, strict=True))
    angle = (one * other).sum(-1, keepdim=True).clamp(-1, 1).acos()
    turned = (torch.sin((1 - share) * angle) * one + torch.sin(share * angle) * other) / angle.sin().clamp(min=1e-9)
    # Nearly equal or opposite directions, and no direction at all, have no great circle of their own.
    has_circle = (angle.sin() > 1e-3) & (torch.minimum(*lengths) > 1e-6)
    return torch.where(has_circle, turned * torch.lerp(*lengths, share), straight)


@dataclass(frozen=True)
class LatentPiece:
    """The posterior's mean of each segment, (S, Z), how many bars each has, and the notes as tokens can say them."""

    latents: Tensor
    bars: tuple[int, ...]
    score: Score


def mixed(a: LatentPiece, b: LatentPiece, share: float, spherical: bool = True) -> tuple[Tensor, list[int]]:
    """Latents (S, Z) and bars at `share` of the way from a to b.

    The pieces are aligned segment by segment from their beginnings. Where one ends earlier, the other's last segments
    stand alone, and as many of them as the share says: the length goes evenly from a's to b's.
    """
    both, count = min(len(a.bars), len(b.bars)), round(len(a.bars) + share * (len(b.bars) - len(a.bars)))
    longer = a if len(a.bars) > len(b.bars) else b
    latents = torch.cat([between(a.latents[:both], b.latents[:both], share, spherical), longer.latents[both:count]])
    bars = [round(x + share * (y - x)) for x, y in zip(a.bars[:both], b.bars[:both], strict=True)]
    return latents, [*bars, *longer.bars[both:count]]


def varied(latents: Tensor, amount: float, seed: int, row: int) -> Tensor:
    """Latents (S, Z) with a draw of the prior, times `amount`, added to each; every row has a stream of its own."""
    noise = np.random.default_rng([seed, row]).standard_normal(latents.shape)
    return latents + amount * torch.from_numpy(noise).to(latents)


def prior_draws(model: VAE, rows: int, seed: int) -> Iterator[Tensor]:
    """Latents (B, Z) of the prior without end; row i draws from a stream of its own."""
    generators = [np.random.default_rng([seed, row, 1]) for row in range(rows)]
    while True:
        draws = np.stack([generator.standard_normal(model.latent_size) for generator in generators])
        yield torch.from_numpy(draws).float()


def run_segments(
    engine: Engine,
    guides: Sequence[MusicGuide],
    prompt: Sequence[int],
    bars_before: int,
    segments: Iterable[tuple[Tensor, Sequence[int]]],
    sampling: Sampling,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> list[tuple[list[int], float]]:
    """The rounds of `segment_rounds`, decoded with an engine."""
    work = segment_rounds(engine.window, guides, prompt, bars_before, segments, sampling, seed)
    return perform(work, engine, on_step)


def segment_rounds(
    window: int | None,
    guides: Sequence[MusicGuide],
    prompt: Sequence[int],
    bars_before: int,
    segments: Iterable[tuple[Tensor, Sequence[int]]],
    sampling: Sampling,
    seed: int = 0,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    temperatures: Tensor | None = None,
    attempts: int = 1,
) -> Work[list[tuple[list[int], float]]]:
    """Ids and nats of one row per guide, without the prompt: a latent after the other, each decoded into its bars.

    segments: latents (B, Z) and how many bars are made of them, 0 for none. Each of the B samples, and of the labels
    (B, C), is for `attempts` guides, which stand side by side; with more than one, rows are scored. The model reads
    the segment alone, as in training: the first one after the `prompt`'s last bar (the whole of it where it opens
    none), each later one after a Bar token. The guides go through the whole row, so bars, ringing notes and the length
    asked for are its own. `bars_before`: those of the prompt that are closed. window: the engine's. Ends with the
    segments, or when every guide is done.
    """
    bar_id = guides[0].walk.bar_id
    assert bar_id is not None
    said: list[list[int]] = [[] for _ in guides]
    nats = [0.0 for _ in guides]
    done = [False for _ in guides]
    for number, (latent, bars) in enumerate(segments):
        opens_bar = number > 0 or guides[0].forced() == bar_id
        rows: dict[int, Row] = {}
        start = [bar_id] if opens_bar else _last_bar(prompt, bar_id, window)
        # Another stream for each segment, or all would be drawn alike.
        part_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        for row, guide in enumerate(guides):
            sample, attempt = divmod(row, attempts)
            if done[row] or not bars[sample]:
                continue
            if opens_bar:
                if guide.take(bar_id) is None:
                    done[row] = True
                    continue
                said[row].append(bar_id)
            part = _Part(guide, bar_id, (guide.walk.bar if opens_bar else bars_before) + bars[sample])
            told = labels[sample] if labels is not None else None
            own = (part_seed, sample, attempt) if attempt else (part_seed, sample)
            rows[row] = Row(start, part, sampling, own, told, latent[sample], guidance, temperatures, attempts > 1)
        if all(done):
            break
        yield rows
        for row, decoded in rows.items():
            said[row] += decoded.new
            nats[row] += decoded.nats
            done[row] |= cast(_Part, decoded.guide).finished
    return list(zip(said, nats, strict=True))


def _last_bar(prompt: Sequence[int], bar_id: int, window: int | None) -> Sequence[int]:
    """The prompt from its last bar on, or all of it where it opens no second one; not more than the window holds."""
    starts = [index for index, token in enumerate(prompt) if token == bar_id]
    part = prompt[starts[-1] :] if len(starts) > 1 else prompt
    return part[1 - window :] if window is not None and len(part) >= window else part


class _Part:
    """Implements engine.Guide: the guide of the whole row, up to `end_bar`. finished: that guide has ended the row."""

    def __init__(self, guide: MusicGuide, bar_id: int, end_bar: int):
        self.guide, self.bar_id, self.end_bar, self.finished = guide, bar_id, end_bar, False
        self.walk = cast(Walk, guide.walk)
        self._rests = self.walk.grammar.movers[self.walk.grammar.kind == RESTS]

    @property
    def opens_bar(self) -> bool:
        """The whole row's."""
        return self.guide.opens_bar

    def forced(self) -> int | None:
        """The whole row's."""
        return self.guide.forced()

    def allowed(self) -> np.ndarray | None:
        """What the whole row permits, less rests over the end."""
        allowed = self.guide.allowed()
        if allowed is None or not allowed[self._rests].any():
            return allowed
        mask = allowed.copy()
        mask[self._rests[self.walk.landings()[0][self._rests] >= self.end_bar]] = False
        return mask if mask.any() else allowed

    def bias(self) -> np.ndarray | None:
        """The whole row's."""
        return self.guide.bias()

    def take(self, token: int) -> int | None:
        """Take `token`, or end the part before it."""
        if self.finished or self._passes(self.bar_id if token == self.walk.tokenizer.eos_id else token):
            return None
        taken = self.guide.take(token)
        self.finished = taken is None
        return taken

    def _passes(self, token: int) -> bool:
        return self.walk.after(token)[0] >= self.end_bar
