"""Going on from a trained model on other music: which of its rows mean what here, and what it has not seen.

Legend: V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from midifactory.data.conditions import ConditionCodec, Label
from midifactory.errors import UserError
from midifactory.models.inputs import TokenInput
from midifactory.models.interface import SequenceModel
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.checkpoint import Trained
from midifactory.training.optimizers import is_output

_NEW = -1
_LISTED = 5


@dataclass(frozen=True)
class Start:
    """What a fine-tuning begins with: a trained model, and the tokenizer and model config it goes on with."""

    trained: Trained
    tokenizer: Tokenizer
    model_config: dict[str, Any]


def vocabulary_rows(old: Tokenizer, new: Tokenizer) -> Tensor:
    """(V,) int64: for each id of `new` the id of the same token in `old`, -1 for a special token that `old` has not.

    Tokens are the same where their strings are; merged ones where all their parts are. Raises UserError, in one line,
    where anything else of `new` is unknown to `old`.
    """
    if new.scheme != old.scheme:
        raise UserError(
            f"init_from: the checkpoint's tokens are {old.scheme}, the tokenizer asked for writes {new.scheme}; "
            "leave out tokenizer=... to take the checkpoint's"
        )
    if new.wants_bpe:
        raise UserError(
            "init_from: byte pairs learnt anew from other files would not be the checkpoint's; leave out "
            "tokenizer=... and tokenizer.vocab_size=... to take the checkpoint's tokenizer"
        )
    ids = {name: index for index, name in enumerate(_token_names(old))}
    names = _token_names(new)
    special = set(new.special_tokens)
    missing = [name for name in names if name not in ids and name not in special]
    if missing:
        more = ", ..." if len(missing) > _LISTED else ""
        raise UserError(
            f"init_from: {len(missing)} of the {len(names)} tokens are unknown to the checkpoint, such as "
            f"{', '.join(missing[:_LISTED])}{more}; leave out tokenizer=... to take the checkpoint's"
        )
    return torch.tensor([ids.get(name, _NEW) for name in names])


def _token_names(tokenizer: Tokenizer) -> list[str]:
    """Every id of the model's vocabulary in words."""
    parts = (tokenizer.to_base_ids([index]) for index in range(tokenizer.vocab_size))
    return [" ".join(tokenizer.tokens[base] for base in bases) for bases in parts]


def condition_rows(old: ConditionCodec | None, new: ConditionCodec | None) -> list[Tensor | None]:
    """For each condition of `new`, in its order: the old id of each of its ids, -1 for a new label.

    None for a condition that `old` has not. The conditions of `old` must stand first in `new`, as ConditionCodec.grown
    has them.
    """
    known = old.fields if old else ()
    rows: list[Tensor | None] = []
    for index, field in enumerate(new.fields if new else ()):
        if index >= len(known):
            rows.append(None)
            continue
        before = known[index]
        assert before.name == field.name
        if isinstance(field, Label) and isinstance(before, Label):
            rows.append(torch.tensor([0, *(before.encode(value) or _NEW for value in field.values)]))
        else:
            rows.append(torch.arange(field.size))
    return rows


def adopt_weights(
    model: SequenceModel, trained: Trained, tokenizer: Tokenizer, conditions: ConditionCodec | None
) -> list[str]:
    """Copy the weights of `trained` into `model`, its rows of tokens and labels to where these are now.

    New rows are the mean of the old ones; the table of a new condition is zero, so that an added one changes nothing at
    first. Returns the names of the parameters with new rows. Raises UserError where anything else of the two differs.
    """
    tokens = vocabulary_rows(trained.tokenizer, tokenizer)
    rows: dict[str, Tensor | None] = {}
    for name, module in model.named_modules():
        if isinstance(module, TokenInput):
            if module.tokens.num_embeddings == tokenizer.vocab_size:  # a model of frames has a table of its own
                rows[f"{name}.tokens.weight"] = tokens
            for index, labels in enumerate(condition_rows(trained.conditions, conditions)):
                rows[f"{name}.condition_tables.{index}.weight"] = labels
        elif is_output(name, module) and len(module.weight) == tokenizer.vocab_size:
            rows |= {f"{name}.weight": tokens, f"{name}.bias": tokens}
    own, weights = model.state_dict(), trained.model.state_dict()
    rows = {name: ids for name, ids in rows.items() if name in own}
    for name, ids in rows.items():
        if ids is None:
            weights[name] = torch.zeros_like(own[name])
        elif name in weights:
            weights[name] = _moved(weights[name], ids)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"init_from={trained.path}: the model asked for is another one: {reason}") from error
    return [name for name, ids in rows.items() if ids is None or bool((ids == _NEW).any())]


def _moved(table: Tensor, ids: Tensor) -> Tensor:
    """The rows `ids` of an old table (V, D) or vector (V,), and for -1 their mean."""
    moved = table[ids.clamp(min=0)]
    moved[ids == _NEW] = table.mean(0)
    return moved
