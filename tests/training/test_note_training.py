"""Models of note features in training: they learn, repeat and resume to the bit, and their checkpoints are whole."""

import functools
import json
import math

import lightning
import numpy as np
import pytest
import torch

from midifactory.data.notes import NoteDataModule
from midifactory.errors import UserError
from midifactory.models import notes as model_notes
from midifactory.models.notes import ORDER
from midifactory.music.corpora import Folder
from midifactory.music.score import save_score
from midifactory.tokens.notes import FEATURES, HEADS, NoteCodec, quantile_levels
from midifactory.training.callbacks import KeepLast
from midifactory.training.checkpoint import load_trained
from midifactory.training.checkpoint_folder import WholeCheckpointIO, read_checkpoint, write_checkpoint
from midifactory.training.module import CARD
from midifactory.training.notes import (
    NoteTraining,
    build_note_model,
    holds_notes,
    load_trained_notes,
    make_note_card,
    mean_nats,
    note_loss,
    uniform_nats,
    unigram_nats,
    window_nats,
)
from midifactory.training.schedules import cosine

TRUNKS = {
    "gru": {"_target_": "midifactory.models.recurrent.Recurrent", "cell": "gru", "d_model": 16, "layers": 2},
    "lstm": {"_target_": "midifactory.models.recurrent.Recurrent", "cell": "lstm", "d_model": 16, "layers": 1},
    "transformer": {
        "_target_": "midifactory.models.transformer.Transformer",
        **{"d_model": 16, "heads": 2, "layers": 1, "context": 16},
    },
}
INPUTS, TARGETS, SEED = 6, 4, 5


class Run:
    """One training of a tiny model on `data`; equal arguments give equal runs."""

    def __init__(self, data, folder, trunk="gru", epochs=2, dropout=0.2, lr=0.01, **trainer):
        config = TRUNKS[trunk] | {"dropout": dropout}
        torch.manual_seed(SEED)
        self.module = NoteTraining(
            build_note_model(config, data.codec, data.levels()),
            data.codec,
            functools.partial(torch.optim.AdamW, lr=lr),
            functools.partial(cosine, warmup_steps=2),
            seed=SEED,
            card=make_note_card(config, data.codec, data.scaler, {"programs": []}, "hand"),
        )
        self.data, self.last = data, folder / "checkpoints" / "last.ckpt"
        self.trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[KeepLast(folder / "checkpoints")],
            plugins=[WholeCheckpointIO()],
            default_root_dir=folder,
            **trainer,
        )

    def fit(self, resume=None):
        self.trainer.fit(self.module, datamodule=self.data, ckpt_path=resume, weights_only=True)
        return self

    @property
    def weights(self):
        return {name: value.clone() for name, value in self.module.state_dict().items()}


def same(left, right):
    one, other = left.weights, right.weights
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def new_data(tmp_path, score_from):
    """Ten tunes of two tracks; each call a data module of its own, as another process would have."""
    random = np.random.default_rng(2)
    (tmp_path / "midi").mkdir()
    for index in range(10):
        lines = [
            (program, [(beat / 2, 0.5 + beat % 2, int(random.integers(50, 70)), 80 + beat % 3) for beat in range(18)])
            for program in (0, 33)
        ]
        save_score(score_from(lines), tmp_path / "midi" / f"{index}.mid")

    def make(**codec):
        settings = {"num_instruments": 2, "sequence_length_i": INPUTS, "sequence_length_o": TARGETS, "bins": 8}
        source = Folder(tmp_path / "midi", fractions=(0.6, 0.2, 0.2), workers=0, near_duplicates="keep")
        data = NoteDataModule(
            source, NoteCodec(**settings | codec), "hand", 16, tmp_path / "store", seed=SEED, progress=False
        )
        data.setup()
        return data

    return make


def test_models_and_data_mean_the_same_columns():
    """Models know torch alone, so they name the columns once more."""
    assert [name.removesuffix("_s") for name in FEATURES] == list(model_notes._COLUMNS)
    assert len(FEATURES) == model_notes._FIRST_TRACK
    assert {*ORDER, "offset"} == set(HEADS)
    rows = np.tile(np.arange(6.0), (3, 1))
    levels = quantile_levels([rows], 1)[:, 0].tolist()
    assert levels == [model_notes._COLUMNS[name] for name in model_notes._LEVELS]


@pytest.mark.parametrize("trunk", list(TRUNKS))
def test_a_tiny_model_learns(new_data, tmp_path, trunk):
    data = new_data()
    run = Run(data, tmp_path, trunk, epochs=6, dropout=0.0)
    before = mean_nats(run.module.model, data.train_dataloader(), INPUTS)
    run.fit()
    after = mean_nats(run.module.model, data.train_dataloader(), INPUTS)
    assert set(after) == {*ORDER, "offset"}
    for name in ("track", "time_delta", "duration", "velocity"):  # they follow a pattern; pitches are at random
        assert after[name] < 0.5 * before[name], name
    scaled = [data.scaler.transform(data.store.features(piece)) for piece in data.pieces("train")]
    assert sum(after[name] for name in ORDER) < unigram_nats(run.module.model, scaled, scaled)


def test_the_same_seed_gives_the_same_bits(new_data, tmp_path):
    first = Run(new_data(), tmp_path / "a").fit()
    torch.rand(17)
    assert same(first, Run(new_data(), tmp_path / "b").fit())
    assert not same(first, Run(new_data(), tmp_path / "c", dropout=0.3).fit())


class Stop(Exception):
    pass


class StopAt(lightning.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise Stop


@pytest.mark.parametrize("trunk", ["gru", "transformer"])
def test_a_resumed_run_ends_with_the_bits_of_an_undisturbed_one(new_data, tmp_path, trunk):
    whole = Run(new_data(), tmp_path / "whole", trunk).fit()
    cut = Run(new_data(), tmp_path / "cut", trunk)
    middle = tmp_path / "middle.ckpt"
    steps = whole.trainer.global_step
    cut.trainer.callbacks.append(StopAt(steps * 2 // 3, middle))  # in the second of two epochs
    with pytest.raises(Stop):
        cut.fit()
    assert not same(whole, cut)
    assert same(whole, Run(new_data(), tmp_path / "resumed", trunk).fit(middle))


def test_validation_scores_each_note_once_given_those_before_it(new_data, tmp_path):
    """Against a loop over the notes: each is read after the 6 to 9 rows of its window, zeros before the first."""
    data = new_data()
    run = Run(data, tmp_path, epochs=1).fit()
    model, total, count = run.module.model.eval(), 0.0, 0
    for piece in data.pieces("validation"):
        rows = torch.from_numpy(data.scaler.transform(data.store.features(piece))).float()
        padded = torch.cat([torch.zeros(INPUTS, rows.shape[1]), rows])
        for index in range(len(rows)):
            start = index - index % TARGETS
            with torch.no_grad():
                known = model(padded[None, start : index + INPUTS])[0][:, -1]
                nats = model.nats(known, rows[index][None])
            total, count = total + sum(float(nats[name]) for name in ORDER), count + 1
    assert run.trainer.callback_metrics["val/nats_per_note"].item() == pytest.approx(total / count, rel=1e-4)
    found = mean_nats(model, data.val_dataloader(), INPUTS)
    assert sum(found[name] for name in ORDER) == pytest.approx(total / count, rel=1e-4)


def test_losses_are_weighted(new_data):
    data = new_data()
    weighted = NoteCodec(
        **json.loads(data.codec.to_json()) | {"loss_weights": {"pitch": 3.0, "offset": 0, "track": 0.5}}
    )
    model = build_note_model(TRUNKS["gru"] | {"dropout": 0.0}, data.codec, data.levels())
    batch = next(iter(data.train_dataloader()))
    means = {name: values.mean() for name, values in window_nats(model, batch["rows"], INPUTS).items()}
    assert float(note_loss(model, batch, data.codec)) == pytest.approx(float(sum(means.values())), rel=1e-5)
    due = 3 * means["pitch"] + means["duration"] + means["time_delta"] + means["velocity"] + 0.5 * means["track"]
    assert float(note_loss(model, batch, weighted)) == pytest.approx(float(due), rel=1e-5)


def test_rows_that_are_no_notes_do_not_count(new_data):
    data = new_data()
    model = build_note_model(TRUNKS["gru"] | {"dropout": 0.0}, data.codec, data.levels())
    rows = torch.stack([data.windows("train")[index] for index in range(len(data.windows("train")))])
    nats = window_nats(model, rows, INPUTS)
    notes = int((rows[:, INPUTS:, 5:].sum(-1) > 0).sum())
    assert notes < rows.shape[0] * TARGETS
    assert all(len(values) == notes for values in nats.values())


def test_baselines(new_data):
    """Against counting by hand."""
    data = new_data()
    model = build_note_model(TRUNKS["gru"], data.codec, data.levels())
    train = np.concatenate([data.scaler.transform(data.store.features(piece)) for piece in data.pieces("train")])
    test = np.concatenate([data.scaler.transform(data.store.features(piece)) for piece in data.pieces("test")])
    known = model.classes(torch.from_numpy(train).float())
    found = model.classes(torch.from_numpy(test).float())
    due = 0.0
    for name, size in model.sizes.items():
        counts = [1 + known[name].tolist().count(index) for index in range(size)]
        due += np.mean([-math.log(counts[index] / sum(counts)) for index in found[name].tolist()])
    assert unigram_nats(model, [train], [test]) == pytest.approx(due, rel=1e-6)
    assert uniform_nats(model) == pytest.approx(math.log(math.prod(model.sizes.values())))
    assert model.sizes["track"] == 2
    assert model.sizes["time_delta"] == 2  # together, or half a quarter later


def test_a_checkpoint_is_all_that_is_needed(new_data, tmp_path):
    data = new_data()
    run = Run(data, tmp_path, epochs=1).fit()
    card = read_checkpoint(run.last)[CARD]
    assert card["model"]["cell"] == "gru"
    assert holds_notes(run.last)
    trained = load_trained_notes(run.last)
    assert not trained.model.training
    assert trained.codec == data.codec
    assert trained.scaler.to_dict() == data.scaler.to_dict()
    assert trained.corpus == "hand"
    due = mean_nats(run.module.model, data.val_dataloader(), INPUTS)
    assert mean_nats(trained.model, data.val_dataloader(), INPUTS) == due
    with pytest.raises(UserError, match="is of note features; take one of tokens here"):
        load_trained(run.last)


def test_a_checkpoint_of_other_things_is_told(new_data, tmp_path):
    run = Run(new_data(), tmp_path, epochs=1).fit()
    checkpoint = read_checkpoint(run.last)

    def told(words, **changes):
        other = tmp_path / "other.ckpt"
        write_checkpoint(checkpoint | {CARD: {**checkpoint[CARD], **changes}}, other)
        with pytest.raises(UserError, match=words):
            load_trained_notes(other)

    told("has format 0, this version reads", format=0)
    told("its card is damaged", tokenizer="{}[")
    told("its card is damaged", scaler={"shift": [0]})
    told("its weights do not fit its model", model=TRUNKS["lstm"])
    del checkpoint[CARD]["scaler"]
    told("is of tokens; train one with tokenizer=notes")


def test_models_that_cannot_be_are_told(new_data):
    codec = NoteCodec(sequence_length_i=30, sequence_length_o=10)
    with pytest.raises(
        UserError, match=r"model.context=16: a window has 30 \+ 10 notes; set model.context=40, or lower"
    ):
        build_note_model(TRUNKS["transformer"], codec)
    for name in ("musical_embeddings", "experts"):
        with pytest.raises(UserError, match=f"model.{name}=4 is for tokens; leave it out with tokenizer=notes"):
            build_note_model(TRUNKS["gru"] | {name: 4}, codec)
