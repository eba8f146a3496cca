"""Decoders as functions: what a model has read comes in as tensors and goes out as tensors, nothing is kept.

So they can be exported, for any number of rows and tokens. Rows may have read differently much: each column of what was
read has its place in its row, and -1 where it is padding, which nothing looks at. The arithmetic is that of
models/transformer.py and models/recurrent.py, whose weights these share.

Legend: B rows, T new tokens, P columns that were read before, L = P + T, C prefix columns, N layers, G heads of keys
and values, H heads, K head size, D d_model, V vocabulary, F place features, R hidden size, E experts, k of a token.
"""

import json
import os
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from midifactory import files
from midifactory.errors import UserError
from midifactory.export.hub import exported_card, refuse_filled
from midifactory.export.running import ROWS, Layout, ProgramModel, Run
from midifactory.models.attention import Attention
from midifactory.models.inputs import TokenInput
from midifactory.models.interface import PlaceReader, SequenceModel
from midifactory.models.moe import Experts
from midifactory.models.positions import Span
from midifactory.models.quantise import Int8Linear
from midifactory.models.recurrent import PastAttention, Recurrent
from midifactory.models.transformer import Block, Transformer
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import Trained, trained_of
from midifactory.training.checkpoint_folder import (
    EXPORTED_CARD,
    EXPORTED_TOKENIZER,
    TORCH_PROGRAM,
    read_program,
    write_hashes,
)
from midifactory.training.notes import TrainedNotes


class Program(nn.Module):
    """A model as a function; `layout` says of what."""

    layout: Layout

    def __init__(self, model: Transformer | Recurrent, layers: int):
        super().__init__()
        self.model: Any = model
        reader, conditions = self.inputs.reader, tuple(table.num_embeddings for table in self._condition_tables())
        self.prefix = self.inputs.prefix_length
        self.vocab_size = model.vocab_size
        self.layers = layers
        self.described: dict[str, Any] = {
            "vocab_size": model.vocab_size,
            "context": model.context,
            "place_features": len(reader.sizes) if reader else 0,
            "conditions": conditions,
            "prefix": self.prefix,
        }
        if self.prefix:
            tables = [self.inputs.tokens.weight, *(table.weight for table in self._condition_tables())]
            self.register_buffer("table", torch.cat([table.detach() for table in tables]), persistent=False)

    @property
    def inputs(self) -> TokenInput:
        """What embeds the tokens."""
        return self.model.inputs

    def example(self) -> dict[str, Tensor]:
        """Inputs of three rows, five columns read and four new tokens."""
        rows, past, new = 3, 5, 4
        found = {"ids": torch.ones(rows, new, dtype=torch.int64)} | self.layout.empty(rows)
        if self.layout.past is not None:
            layers, heads, size = self.layout.past
            columns = torch.arange(past + new).expand(rows, -1)
            found["past_positions"], found["positions"] = columns[:, :past].clone(), columns[:, past:].clone()
            found["past"] = torch.zeros(layers, 2, rows, heads, past, size)
        if "places" in self.layout.inputs:
            found["places"] = torch.zeros(rows, new, self.layout.place_features, dtype=torch.int64)
        if "labels" in self.layout.inputs:
            found["labels"] = torch.zeros(rows, len(self.layout.conditions), dtype=torch.int64)
        return {name: found[name] for name in self.layout.inputs}

    def changing(self) -> dict[str, dict[int, Any]]:
        """Which axes of the inputs change, as torch.export takes it."""
        rows, past, new = Dim("rows"), Dim("past"), Dim("tokens")
        axes: dict[str, dict[int, Any]] = {name: {axis: rows} for name, axis in ROWS.items()}
        for name in ("ids", "positions", "places"):
            axes[name][1] = new
        axes["past_positions"][1] = axes["past"][4] = past
        return {name: axes[name] for name in self.layout.inputs}

    def _condition_tables(self) -> list[nn.Embedding]:
        return [cast(nn.Embedding, table) for table in self.inputs.condition_tables]

    def _embedded(self, ids: Tensor, places: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, T, D), and which of them are tokens, (B, T, 1), where there is a prefix."""
        tokens = None
        if self.prefix:
            x, tokens = nn.functional.embedding(ids, cast(Tensor, self.table)), (ids < self.vocab_size)[..., None]
        else:
            x = self.inputs.tokens(ids)
        if places is not None:
            added = torch.zeros_like(x)
            for index, table in enumerate(cast(nn.ModuleList, self.inputs.place_tables)):
                added = added + table(places[..., index])
            x = x + (added if tokens is None else added * tokens)
        if labels is not None:
            for index, table in enumerate(self._condition_tables()):
                x = x + table(labels[:, index])[:, None]
        return x, tokens


class TransformerProgram(Program):
    """models.transformer.Transformer."""

    def __init__(self, model: Transformer):
        super().__init__(model, len(model.blocks))
        attention = cast(Block, model.blocks[0]).attention
        self.layout = Layout(
            past=(self.layers, model.kv_heads, attention.size), span=None, hidden=None, cell=False, **self.described
        )

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        past_positions: Tensor,
        past: Tensor,
        places: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As Layout says."""
        model, kind = self.model, self.model.positions
        x, tokens = self._embedded(ids, places, labels)
        if kind.kind in ("sinusoidal", "learned"):
            at = (positions - self.prefix).clamp(min=0)
            added = kind.waves[at] if kind.table is None else kind.table(at)  # (B, T, D)
            x = x + (added if tokens is None else added * tokens)
        every = torch.cat((past_positions, positions), 1)  # (B, L)
        distances = positions[..., None] - every[:, None]  # (B, T, L)
        seen = _seen(distances, every, positions)[:, None]  # (B, 1, T, L)
        span = Span(distances=distances)
        if kind.kind == "rotary":
            at = positions.clamp(min=0)
            span = Span((kind.cos[at], kind.sin[at]), distances=distances)  # (B, T, 1, K) each
        presents = []
        for index, module in enumerate(model.blocks):
            block = cast(Block, module)
            mixed, present = self._attend(block.attention, _normed(block.norm_attention, x), span, seen, past[index])
            presents.append(present)
            x = x + mixed
            hidden = _normed(block.norm_feed_forward, x)
            feed_forward = block.feed_forward
            x = x + (_all_experts(feed_forward, hidden) if isinstance(feed_forward, Experts) else feed_forward(hidden))
        return model.head(_normed(model.norm, x)), torch.stack(presents)

    def _attend(self, attention: Attention, x: Tensor, span: Span, seen: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, D), past (2, B, G, P, K) -> (B, T, D), and keys and values (2, B, G, L, K)."""
        size = attention.size
        query, key, value = attention._project(attention.qkv(x).unflatten(2, (-1, size)), span)  # (B, H or G, T, K)
        present = torch.cat((past, torch.stack((key, value))), 3)
        keys, values = attention._for_all_heads(present[0]), attention._for_all_heads(present[1])  # (B, H, L, K)
        scores = query @ keys.mT * size**-0.5  # (B, H, T, L)
        distances = cast(Tensor, span.distances)
        if self.model.positions.kind == "alibi":
            scores = scores - self.model.positions.slopes * distances[:, None]
        if attention.distances is not None:
            table = attention.distances.weight.unflatten(1, (-1, size)).permute(1, 2, 0)  # (H, K, M)
            by_distance = query @ table * size**-0.5  # (B, H, T, M)
            at = distances.clamp(0, self.model.positions.greatest)[:, None].expand(-1, attention.heads, -1, -1)
            scores = scores + by_distance.gather(3, at)
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return attention.residual((weights @ values).transpose(1, 2).flatten(2)), present


@torch.library.custom_op("midifactory::recurrent_layer", mutates_args=())
def recurrent_layer(
    x: Tensor, hidden: Tensor, cell: Tensor, w_in: Tensor, w_on: Tensor, b_in: Tensor, b_on: Tensor, lstm: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer of nn.LSTM or nn.GRU: x (B, T, D), hidden and cell (1, B, R) -> (B, T, R), and both after it.

    One operation to those who trace it, who would otherwise write its steps out for one number of tokens.
    """
    weights = [w_in, w_on, b_in, b_on]
    if lstm:
        return torch.lstm(x, (hidden, cell), weights, True, 1, 0.0, False, False, True)
    y, after = torch.gru(x, hidden, weights, True, 1, 0.0, False, False, True)
    return y, after, cell.clone()


@recurrent_layer.register_fake
def _(
    x: Tensor, hidden: Tensor, cell: Tensor, w_in: Tensor, w_on: Tensor, b_in: Tensor, b_on: Tensor, lstm: bool
) -> tuple[Tensor, Tensor, Tensor]:
    y = x.new_empty(x.shape[0], x.shape[1], w_on.shape[1])
    return y, torch.empty_like(hidden), torch.empty_like(cell)


class RecurrentProgram(Program):
    """models.recurrent.Recurrent. opaque: its layers as `recurrent_layer`, to be traced."""

    opaque = False

    def __init__(self, model: Recurrent):
        super().__init__(model, len(model.layers))
        first = cast(nn.LSTM | nn.GRU, model.layers[0])
        past, span = None, None
        if model.attention is not None:
            heads, span = model.attention.heads, model.attention.span
            past = (1, heads, first.hidden_size // heads)
        cell = isinstance(first, nn.LSTM)
        self.layout = Layout(past=past, span=span, hidden=(self.layers, first.hidden_size), cell=cell, **self.described)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        past_positions: Tensor | None = None,
        past: Tensor | None = None,
        hidden: Tensor | None = None,
        cell: Tensor | None = None,
        places: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """As Layout says."""
        assert hidden is not None
        model = self.model
        x, _ = self._embedded(ids, places, labels)
        x = x * self.inputs.tokens.embedding_dim**0.5
        after, cells, out = list[Tensor](), list[Tensor](), list[Tensor]()
        for index, (layer, norm) in enumerate(zip(model.layers, model.norms, strict=True)):
            before = hidden[index : index + 1]
            if self.opaque:
                memory = before if cell is None else cell[index : index + 1]
                weights = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0
                x, before, memory = recurrent_layer(x, before, memory, *weights, cell is not None)
                if cell is not None:
                    cells.append(memory)
            elif cell is not None:
                x, (before, memory) = layer(x, (before, cell[index : index + 1]))
                cells.append(memory)
            else:
                x, before = layer(x, before)
            x = norm(x)  # (B, T, R)
            after.append(before)
        if model.attention is not None:
            assert positions is not None
            assert past_positions is not None
            assert past is not None
            x, present = self._attend(model.attention, x, positions, past_positions, past[0])
            out.append(present[None])
        out += [torch.cat(after), *([torch.cat(cells)] if cells else [])]
        return model.head(model.projection(x)), *out

    def _attend(
        self, attention: PastAttention, x: Tensor, positions: Tensor, past_positions: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x (B, T, R), past (2, B, H, P, K) -> (B, T, R), and keys and values (2, B, H, L, K)."""
        split = attention.query_key_value(x).unflatten(2, (3, attention.heads, -1))  # (B, T, 3, H, K)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, K) each
        present = torch.cat((past, torch.stack((key, value))), 3)
        every = torch.cat((past_positions, positions), 1)  # (B, L)
        distances = positions[..., None] - every[:, None]  # (B, T, L)
        seen = (_seen(distances, every, positions) & (distances <= attention.span))[:, None]
        scores = query @ present[0].mT * query.shape[-1] ** -0.5  # (B, H, T, L)
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return x + attention.residual((weights @ present[1]).transpose(1, 2).flatten(2)), present


def make_program(model: SequenceModel) -> Program:
    """The model as a function. Raises UserError for a kind that has none, with the reason."""
    name = type(model).__name__
    if any(isinstance(part, Int8Linear) for part in model.modules()):
        raise UserError("int8=true has weights of its own; export the model without it")
    if type(model) not in (Transformer, Recurrent):
        reasons = {
            "VAE": "it decodes from a latent that it draws",
            "Ensemble": "it is several models, each with a cache of its own",
            "FrameTransformer": "its frames are read four tokens at a time, by a cache of another kind",
            "NoteModel": "it is of note features, not of tokens",
        }
        raise UserError(
            f"{name} cannot be exported as a function: "
            f"{reasons.get(name, 'only transformers and recurrent models can')}; use format=hub"
        )
    plain = cast(Transformer | Recurrent, model)
    if plain.inputs.latent is not None:
        raise UserError(f"{name} with model.latent_size cannot be exported as a function; use format=hub")
    return (TransformerProgram(plain) if isinstance(plain, Transformer) else RecurrentProgram(plain)).eval()


def write_program_files(trained: Trained | TrainedNotes, layout: Layout, folder: Path) -> None:
    """Write config.json, with the layout as `program`, tokenizer.json and hashes.json beside a program."""
    programs = sorted(path.name for path in folder.iterdir())
    card = exported_card(trained)
    (folder / EXPORTED_TOKENIZER).write_text(card.pop("tokenizer"), encoding="utf-8")
    card = card | {"program": layout.to_json()}
    (folder / EXPORTED_CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
    write_hashes(folder, (*programs, EXPORTED_CARD, EXPORTED_TOKENIZER))


def save_program(trained: Trained | TrainedNotes, folder: str | os.PathLike[str]) -> Path:
    """Write model.pt2, for torch.export.load, with config.json and tokenizer.json as a new `folder`; returns it.

    Raises UserError where the folder holds something, and for a model that is no function.
    """
    target = refuse_filled(folder)
    program = make_program(cast(SequenceModel, trained.model))
    if isinstance(program, RecurrentProgram):
        raise UserError(
            "format=torch_export: torch.export writes a recurrent layer's steps out for one number of tokens; use "
            "format=onnx or format=hub"
        )
    exported = export_program(program)
    with files.replacing_folder(target) as fresh:
        torch.export.save(exported, fresh / TORCH_PROGRAM)
        write_program_files(trained, program.layout, fresh)
    return target


def load_program(folder: str | os.PathLike[str]) -> Trained:
    """What `save_program` wrote, as a model like any other, on the CPU. Raises UserError as checkpoints do."""
    card, path, digest = read_program(folder, TORCH_PROGRAM)
    module = torch.export.load(path).module()
    return program_trained(card, lambda inputs: list(module(**inputs)), Path(folder), digest)


def program_trained(card: dict[str, Any], run: Run, source: Path, digest: str) -> Trained:
    """A program as a trained model; `run` calls it."""

    def build(tokenizer: Tokenizer) -> SequenceModel:
        layout = Layout.from_json(card["program"])
        return ProgramModel(layout, run, cast(PlaceReader, tokenizer.places()) if layout.place_features else None)

    trained = trained_of(card, build, source, digest)
    trained.model.eval()
    return trained


@torch.no_grad()
def export_program(program: Program) -> torch.export.ExportedProgram:
    """Traced, for any number of rows, columns and tokens."""
    return torch.export.export(program, (), kwargs=program.example(), dynamic_shapes=program.changing(), strict=False)


def _seen(distances: Tensor, every: Tensor, positions: Tensor) -> Tensor:
    """(B, T, L): which columns a token may look at. Padding looks at itself, since a softmax needs something."""
    new, columns = positions.shape[1], every.shape[1]
    own = torch.arange(columns - new, columns)[:, None] == torch.arange(columns)  # (T, L)
    return ((every[:, None] >= 0) & (distances >= 0)) | own


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    if not isinstance(norm, nn.RMSNorm):
        return norm(x)
    return x * (x.square().mean(-1, keepdim=True) + cast(float, norm.eps)).rsqrt() * norm.weight


def _all_experts(experts: Experts, x: Tensor) -> Tensor:
    """x (B, T, D) -> (B, T, D). Every expert reads every token: who is chosen must not change the function's shapes."""
    scores = experts.router(x).softmax(-1)  # (B, T, E)
    weights, chosen = scores.topk(experts.per_token, -1)  # (B, T, k)
    if experts.per_token > 1:
        weights = weights / weights.sum(-1, keepdim=True)
    shares = torch.zeros_like(scores).scatter(-1, chosen, weights)  # (B, T, E)
    done = torch.stack([expert(x) for expert in experts.experts], -1)  # (B, T, D, E)
    return (done * shares[..., None, :]).sum(-1)
