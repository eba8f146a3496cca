"""A model that goes on with other tokens and labels says of what it knew what it said before."""

import json
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from midifactory.data.conditions import ConditionCodec, Label, Number
from midifactory.errors import UserError
from midifactory.models.interface import Conditions
from midifactory.models.lora import add_lora
from midifactory.paths import conf_dir
from midifactory.tokens.grid import VoiceGrid
from midifactory.tokens.tokenizer import Tokenizer
from midifactory.training.averaging import AveragedWeights
from midifactory.training.checkpoint import Trained, build_model, load_trained
from midifactory.training.finetune import adopt_weights, condition_rows, vocabulary_rows

MODELS = {
    "transformer": {"_target_": "midifactory.models.transformer.Transformer", "d_model": 8, "heads": 2, "layers": 1},
    "untied": {
        "_target_": "midifactory.models.transformer.Transformer",
        **{"d_model": 8, "heads": 2, "layers": 1, "tie_embeddings": False, "musical_embeddings": True},
    },
    "gru": {"_target_": "midifactory.models.recurrent.Recurrent", "cell": "gru", "d_model": 8, "layers": 1},
}
COMPOSER = Label("composer", ("Bach", "Telemann"))
TEMPO = Number("tempo_bpm", (80.0, 120.0), 50.0, 180.0, (70.0, 100.0, 150.0))


def make_tokenizer(**fields) -> Tokenizer:
    return instantiate(OmegaConf.load(conf_dir() / "tokenizer" / "remi_plus.yaml"), _convert_="all", **fields)


def with_special(tokenizer, *names) -> Tokenizer:
    """The same tokenizer with more special tokens, which stand before all others."""
    state = json.loads(tokenizer.to_json())
    state["config"]["special_tokens"] += names
    return Tokenizer.from_json(json.dumps(state))


@pytest.fixture(scope="module")
def narrow() -> Tokenizer:
    """Fewer pitches than the usual one: other ids for the same tokens."""
    return make_tokenizer(pitch_range=[40, 80])


def make_trained(config, tokenizer, codec=None) -> Trained:
    torch.manual_seed(0)
    sizes = {"condition_sizes": codec.sizes} if codec else {}
    model = build_model(config | sizes, tokenizer).eval()
    return Trained(model, tokenizer, 64, {}, "hand", Path("old.ckpt"), "", codec, config)


def grown_model(config, trained, tokenizer, codec=None):
    torch.manual_seed(1)
    sizes = {"condition_sizes": codec.sizes} if codec else {}
    model = build_model(config | sizes, tokenizer).eval()
    return model, adopt_weights(model, trained, tokenizer, codec)


# --- Which row is which ----------------------------------------------------------------------------------


def test_the_same_tokenizer_keeps_its_rows(tokenizer):
    assert vocabulary_rows(tokenizer, Tokenizer.from_json(tokenizer.to_json())).tolist() == list(
        range(tokenizer.vocab_size)
    )


def test_rows_are_matched_by_token(tokenizer, narrow):
    rows = vocabulary_rows(tokenizer, narrow).tolist()
    assert [tokenizer.tokens[row] for row in rows] == narrow.tokens
    assert rows != list(range(len(rows)))


def test_merged_tokens_are_matched_by_their_parts(store):
    old = make_tokenizer(vocab_size=900).learn_bpe(store.ids(piece) for piece in store.pieces)
    same = Tokenizer.from_json(old.to_json())
    assert vocabulary_rows(old, same).tolist() == list(range(old.vocab_size))
    fewer = make_tokenizer(vocab_size=880).learn_bpe(store.ids(piece) for piece in store.pieces)
    rows = vocabulary_rows(old, fewer).tolist()
    for index, row in enumerate(rows):
        assert old.to_base_ids([row]).tolist() == fewer.to_base_ids([index]).tolist()
    with pytest.raises(UserError, match=r"20 of the 900 tokens are unknown.*leave out tokenizer"):
        vocabulary_rows(fewer, old)


def test_special_tokens_are_new_rows(tokenizer):
    new = with_special(tokenizer, "MASK_None", "SEP_None")
    rows = vocabulary_rows(tokenizer, new).tolist()
    assert [new.tokens[index] for index, row in enumerate(rows) if row == -1] == ["MASK_None", "SEP_None"]
    assert [tokenizer.tokens[row] for row in rows if row >= 0] == tokenizer.tokens


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pitch_range": [20, 111]}, r"3 of the \d+ tokens are unknown to the checkpoint, such as Pitch_20, Pitch_110"),
        ({"num_velocities": 30}, r"such as Velocity_\d+, .*, \.\.\.; leave out tokenizer=\.\.\."),
        ({"scheme": "TSD"}, r"tokens are REMI, the tokenizer asked for writes TSD; leave out"),
        ({"vocab_size": 1000}, r"byte pairs learnt anew.*leave out"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tokenizer, fields, message):
    with pytest.raises(UserError, match=message) as error:
        vocabulary_rows(tokenizer, make_tokenizer(**fields))
    assert "\n" not in str(error.value)


def test_labels_are_matched_by_value_and_numbers_stay():
    new = ConditionCodec((Label("composer", ("Bach", "Telemann", "Fasch")), TEMPO, Label("key", ("C major",))))
    rows = condition_rows(ConditionCodec((COMPOSER, TEMPO)), new)
    assert [ids.tolist() if ids is not None else None for ids in rows] == [[0, 1, 2, -1], [0, 1, 2, 3], None]
    assert condition_rows(None, None) == []
    assert condition_rows(None, ConditionCodec((COMPOSER,))) == [None]


def test_conditions_grow_by_what_the_pieces_have():
    codec = ConditionCodec((COMPOSER, TEMPO))
    pieces = [
        {"composer": "Fasch", "tempo_bpm": 40.0, "metre": "3/4"},
        {"composer": "Fasch", "tempo_bpm": None, "metre": "3/4"},
        {"composer": "Graun", "tempo_bpm": 90.0, "metre": "4/4"},
        {"composer": "Graun", "tempo_bpm": 200.0, "metre": "4/4"},
        {"composer": "Graun", "tempo_bpm": 70.0, "metre": "4/4"},
        {"composer": "Bach"},
        {"composer": None},
    ]
    grown = codec.grown(["tempo_bpm", "metre"], pieces)
    assert grown.names == ("composer", "tempo_bpm", "metre")
    assert grown.fields[0].values == ("Bach", "Telemann", "Graun", "Fasch")
    assert (grown.fields[1].edges, grown.fields[1].lowest, grown.fields[1].highest) == (TEMPO.edges, 40.0, 200.0)
    assert grown.fields[2].values == ("4/4", "3/4")
    assert grown.grown(["metre"], pieces) == grown
    assert codec.grown([], [{"composer": None}]) == codec
    assert ConditionCodec(()).grown(["metre"], pieces) == ConditionCodec.fit(["metre"], pieces)


# --- Weights ---------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_the_same_vocabulary_gives_the_same_model(config, tokenizer):
    trained = make_trained(config, tokenizer)
    model, new = grown_model(config, trained, tokenizer)
    ids = torch.randint(tokenizer.vocab_size, (2, 12))
    assert torch.equal(model(ids).logits, trained.model(ids).logits)
    assert new == []


@torch.no_grad()
@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_other_ids_give_the_same_logits_in_another_order(name, tokenizer, narrow):
    trained = make_trained(MODELS[name], tokenizer)
    model, new = grown_model(MODELS[name], trained, narrow)
    rows = vocabulary_rows(tokenizer, narrow)
    ids = torch.randint(narrow.vocab_size, (2, 12))
    assert torch.allclose(model(ids).logits, trained.model(rows[ids]).logits[..., rows], atol=1e-6)
    assert new == []


@torch.no_grad()
@pytest.mark.parametrize("name", ["transformer", "gru"])
def test_a_new_token_is_the_mean_of_the_old_ones(name, tokenizer):
    trained = make_trained(MODELS[name], tokenizer)
    wider = with_special(tokenizer, "MASK_None")
    model, new = grown_model(MODELS[name], trained, wider)
    rows = vocabulary_rows(tokenizer, wider)
    mask = wider.tokens.index("MASK_None")
    table = model.inputs.tokens.weight
    assert torch.allclose(table[mask], trained.model.inputs.tokens.weight.mean(0))
    assert model.head.weight is table
    kept = torch.arange(wider.vocab_size)[rows >= 0]
    ids = kept[torch.randint(len(kept), (2, 12))]
    assert torch.allclose(model(ids).logits[..., kept], trained.model(rows[ids]).logits, atol=1e-6)
    assert {"inputs.tokens.weight", "head.weight"} <= set(new)


@torch.no_grad()
def test_labels_are_told_as_before_and_new_ones_begin_at_the_mean(tokenizer):
    config = MODELS["transformer"]
    old = ConditionCodec((COMPOSER, TEMPO))
    trained = make_trained(config, tokenizer, old)
    new = ConditionCodec((Label("composer", ("Bach", "Telemann", "Fasch")), TEMPO, Label("key", ("C", "D"))))
    model, grown = grown_model(config, trained, tokenizer, new)
    before, after = trained.model.inputs.condition_tables, model.inputs.condition_tables
    assert torch.allclose(after[0].weight[3], before[0].weight.mean(0))
    ids = torch.randint(tokenizer.vocab_size, (3, 9))
    told = torch.tensor([[0, 1], [1, 3], [2, 0]])
    same = torch.cat([told, torch.tensor([[0], [1], [2]])], 1)  # whatever the key is, at first
    assert torch.allclose(
        model(ids, conditions=Conditions(same)).logits, trained.model(ids, conditions=Conditions(told)).logits
    )
    assert grown == ["inputs.condition_tables.0.weight", "inputs.condition_tables.2.weight"]


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "midifactory.models.frames.FrameTransformer", "d_model": 8, "heads": 2, "layers": 1},
        {"_target_": "midifactory.models.vae.VAE", "d_model": 8, "layers": 1, "encoder_layers": 1, "latent_size": 4},
    ],
    ids=["frames", "vae"],
)
def test_models_with_several_tables_learn_a_new_condition_beside(config):
    config = config | {"musical_embeddings": True}
    grid, codec = VoiceGrid(), ConditionCodec((COMPOSER,))
    trained = make_trained(config, grid)
    model, new = grown_model(config, trained, grid, codec)
    assert [name.rpartition("inputs.")[2] for name in new] == ["condition_tables.0.weight"]
    ids = torch.cat([torch.tensor([[grid.bos_id]]), torch.randint(4, grid.vocab_size, (1, 16))], 1)
    torch.manual_seed(0)
    before = trained.model(ids).logits
    torch.manual_seed(0)
    assert torch.equal(model(ids, conditions=Conditions(torch.tensor([[2]]))).logits, before)


def test_another_model_is_an_error(tokenizer):
    trained = make_trained(MODELS["transformer"], tokenizer)
    with pytest.raises(UserError, match=r"init_from=old\.ckpt: the model asked for is another one"):
        grown_model(MODELS["transformer"] | {"d_model": 16}, trained, tokenizer)
    with pytest.raises(UserError, match="another one"):
        grown_model(MODELS["gru"], trained, tokenizer)


# --- Checkpoints of adapted models -----------------------------------------------------------------------


class StopAt(Callback):
    """Ends the training after that many steps, between two epochs."""

    def __init__(self, steps):
        self.steps = steps

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == self.steps


@pytest.mark.parametrize("averaged", [False, True])
def test_a_lora_checkpoint_is_resumed_bit_by_bit_and_loaded_merged(new_run, tokenizer, averaged):
    lora = {"rank": 2, "alpha": 4.0, "whole": []}

    def start(name, *callbacks):
        run = new_run(name, callbacks=callbacks, last_callbacks=[AveragedWeights(0.9)] if averaged else [])
        torch.manual_seed(5)
        add_lora(run.module.model, **lora)
        run.module.card["finetuned"] = {"from": "old.ckpt", "before": {}, "lora": lora}
        return run

    straight = start("straight").fit()
    stopped = start("stopped", StopAt(len(straight.train))).fit()
    assert stopped.trainer.global_step == len(straight.train)
    resumed = start("resumed").fit(resume=stopped.last)
    for name, value in straight.weights.items():
        assert torch.equal(resumed.weights[name], value), name
    loaded = load_trained(resumed.last).model
    plain = build_model(MODELS["transformer"], tokenizer)
    assert [type(module) for module in loaded.modules()] == [type(module) for module in plain.modules()]
    ids = torch.randint(tokenizer.vocab_size, (2, 12))
    assert torch.allclose(loaded(ids).logits, resumed.module.model.eval()(ids).logits, atol=1e-5)
