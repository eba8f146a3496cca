"""Explained notes against a model that is asked one step at a time, and against stubs whose answers are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from midifactory.evaluation.attended import attend
from midifactory.evaluation.explained import explain
from midifactory.evaluation.told_notes import read_notes
from midifactory.models.recurrent import Recurrent
from midifactory.models.transformer import Transformer
from midifactory.tokens.grid import VoiceGrid
from schemes import SAYS, everything, learnt, make_score, tokenizer_of


class Fixed:
    """Says the same of whatever comes next: logits (V,)."""

    context = None

    def __init__(self, logits):
        self.logits = torch.as_tensor(logits, dtype=torch.float32)

    def __call__(self, ids):
        return SimpleNamespace(logits=self.logits.expand(*ids.shape, -1))

    def parameters(self):
        yield self.logits


def naive(model, ids):
    """The probabilities (V,) of each next token: each time the whole begin is read anew."""
    with torch.no_grad():
        return [torch.softmax(model(torch.tensor(ids[None, :end])).logits[0, -1].double(), -1).numpy()
                for end in range(1, len(ids))]  # fmt: skip


def models(vocab_size):
    torch.manual_seed(0)
    return (
        Transformer(vocab_size, d_model=16, heads=2, layers=2, context=512).eval(),
        Recurrent(vocab_size, d_model=16, layers=1).eval(),
    )


@pytest.mark.parametrize("kind", [0, 1], ids=["transformer", "recurrent"])
@pytest.mark.parametrize("scheme", ["remi_plus", "midi_like"])
def test_nats_and_alternatives_are_those_of_one_step_at_a_time(scheme, kind):
    tokenizer = tokenizer_of(scheme)
    model = models(tokenizer.vocab_size)[kind]
    told = read_notes(tokenizer, everything(), 1000)
    found = explain(model, tokenizer, told, 512, alternatives=3)
    steps = naive(model, told.ids)
    nats = [-np.log(step[target]) for step, target in zip(steps, told.ids[1:], strict=True)]
    assert found.nats == pytest.approx(sum(nats), rel=1e-5)
    assert len(found.notes) == len(told) == everything().note_num()
    for note, tokens, strike, pitch in zip(found.notes, told.tokens_of(), told.strikes, told.pitch, strict=True):
        assert note.nats == pytest.approx(sum(nats[token - 1] for token in tokens), rel=1e-5)
        assert note.nats == pytest.approx(sum(part.nats for part in note.parts))
        step, type_ = steps[strike - 1], tokenizer.types[told.ids[strike]]
        assert tokenizer.tokens[told.ids[strike]] == f"{type_}_{pitch}"
        assert note.probability == pytest.approx(step[told.ids[strike]], rel=1e-4)
        alike = {i: step[i] for i, name in enumerate(tokenizer.types) if name == type_}
        best = sorted(alike, key=lambda i: -alike[i])[:3]
        assert [other for other, _ in note.alternatives] == [int(tokenizer.tokens[i].partition("_")[2]) for i in best]
        assert [share for _, share in note.alternatives] == pytest.approx([alike[i] for i in best], rel=1e-4)
        (own,) = [part for part in note.parts if part.type == type_]
        assert [value for value, _ in own.alternatives] == [str(other) for other, _ in note.alternatives]


def test_beyond_its_window_the_likelihood_is_that_of_the_evaluation():
    from midifactory.evaluation.likelihood import token_nats

    tokenizer = tokenizer_of("remi_plus")
    model = Transformer(tokenizer.vocab_size, d_model=16, heads=2, layers=1, context=64).eval()
    told = read_notes(tokenizer, everything(), 1000)
    assert len(told.ids) > 128
    calls = []
    found = explain(model, tokenizer, told, 48, on_tokens=calls.append)
    (nats,) = token_nats(model, [("", told.ids)], 48)
    assert found.nats == pytest.approx(nats.sum(), rel=1e-6)
    assert sum(calls) == len(nats)
    assert len(calls) > 2


def test_merged_tokens_are_shared_among_their_notes():
    tokenizer = learnt("remi_plus")
    rng = np.random.default_rng(0)
    model = Fixed(rng.normal(size=tokenizer.vocab_size))
    told = read_notes(tokenizer, everything(), 1000)
    assert any(len(tokenizer.to_base_ids([i])) > 1 for i in told.ids)
    found = explain(model, tokenizer, told, 512, alternatives=20)
    shares = torch.softmax(model.logits.double(), -1).numpy()
    of_notes = sum(-np.log(shares[told.ids[token]]) for token in np.unique(told.token))
    assert sum(note.nats for note in found.notes) == pytest.approx(of_notes)
    names = [[tokenizer.tokens[i] for i in tokenizer.to_base_ids([i])] for i in range(tokenizer.vocab_size)]
    for note, strike, part, pitch in zip(found.notes, told.strikes, told.parts, told.pitch, strict=True):
        own = names[told.ids[strike]]
        type_, value = own[part].split("_")
        assert int(value) == pitch
        for other, probability in (*note.alternatives, (pitch, note.probability)):
            begin = [*own[:part], f"{type_}_{other}"]
            assert probability == pytest.approx(
                sum(shares[i] for i, name in enumerate(names) if name[: part + 1] == begin)
            )


def test_a_wrong_note_surprises_a_model_that_has_learnt_the_scale():
    tokenizer = tokenizer_of("remi_plus")
    scale = [60, 62, 64, 65, 67, 69, 71, 72]

    def piece(pitches):
        return make_score([(0, [(beat, 1, pitch, 80) for beat, pitch in enumerate(pitches)])])

    torch.manual_seed(0)
    model = Transformer(tokenizer.vocab_size, d_model=32, heads=2, layers=1, context=256)
    ids = torch.tensor(tokenizer.encode(piece(scale * 2)).ids)[None]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits[0], ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    wrong = [*scale, *scale]
    wrong[11] += 1
    right, other = (
        explain(model, tokenizer, read_notes(tokenizer, piece(pitches), 1000), 256) for pitches in (scale * 2, wrong)
    )
    assert other.notes[11].nats > right.notes[11].nats + 2
    assert other.notes[11].alternatives[0][0] == scale[3]
    assert [a.nats for a in other.notes[:11]] == pytest.approx([a.nats for a in right.notes[:11]], rel=1e-3)


@pytest.mark.parametrize("scheme", list(SAYS))
def test_notes_are_those_of_the_file(scheme):
    """Off the tokens' grid, in tracks of one program, and drums: each is told where the file has it."""
    score = everything()
    score.tracks[0].notes[0].time += 7
    told = read_notes(tokenizer_of(scheme), score, 1000)
    found = sorted(
        zip(told.track.tolist(), told.pitch.tolist(), told.onset_beats.tolist(), told.velocity.tolist(), strict=True)
    )
    in_file = [
        (index, note.pitch, note.time / 480, note.velocity)
        for index, track in enumerate(score.tracks)
        for note in track.notes
    ]
    assert found == sorted(in_file)
    assert not told.skipped


def test_a_grid_of_voices_finds_its_notes_whatever_their_programs():
    voices = [(program, [(beat, 1, pitch, 80) for beat in range(4)]) for program, pitch in
              ((40, 72), (41, 67), (42, 60), (43, 48))]  # fmt: skip
    told = read_notes(VoiceGrid(), make_score(voices), 1000)
    assert set(zip(told.track.tolist(), told.program.tolist(), told.pitch.tolist(), strict=True)) == {
        (0, 40, 72), (1, 41, 67), (2, 42, 60), (3, 43, 48)
    }  # fmt: skip


def test_what_is_left_out_is_told():
    tokenizer = tokenizer_of("remi_plus")
    whole = read_notes(tokenizer, everything(), 1000)
    part = read_notes(tokenizer, everything(), 60)
    assert len(part.ids) == 60
    assert part.pitch.tolist() == whole.pitch[: len(part)].tolist()
    assert part.token.max() < 60
    assert part.skipped == (f"all after the first 60 tokens: the last {len(whole) - len(part)} notes",)
    score = everything()
    score.tracks[0].notes[2].pitch = 5  # below the tokenizer's range
    (said,) = read_notes(tokenizer, score, 1000).skipped
    assert said.startswith(f"1 of {len(whole)} notes")


class Staring(Fixed):
    """Two layers of two heads, all of which look at one token, the last one at itself."""

    def __init__(self, look_at):
        super().__init__([0.0])
        self.look_at = look_at

    def attention_maps(self, ids, conditions=None):
        size = ids.shape[1]
        there = torch.eye(size)
        there[self.look_at :] = torch.eye(size)[self.look_at]
        return [torch.stack((there, there))[None], torch.stack((there, torch.eye(size)))[None]]


@pytest.mark.parametrize("name", ["remi_plus", "midi_like", "merged"])
def test_a_stare_is_found_at_its_note(name):
    tokenizer = learnt("remi_plus") if name == "merged" else tokenizer_of(name)
    told = read_notes(tokenizer, everything(), 1000)
    look_at = int(told.strikes[3])
    notes, weights = attend(Staring(look_at), told, 12, 512)
    assert weights.shape == (2, 2, len(notes))
    assert set(notes.tolist()) <= set(range(12))
    there = np.isin(notes, told.note[told.token == look_at])
    assert 3 in notes[there]
    assert weights[0, 0, there].sum() == pytest.approx(1)
    assert not weights[:, :, ~there][0].any()
    assert not weights[1, 1, there].any()


def test_attention_is_the_row_of_the_token_before_and_ends_with_the_window():
    tokenizer = tokenizer_of("remi_plus")
    model, _ = models(tokenizer.vocab_size)
    told = read_notes(tokenizer, everything(), 1000)
    at = int(told.strikes[20])
    notes, weights = attend(model, told, 20, 512)
    rows = torch.cat(model.attention_maps(torch.tensor(told.ids[None, :at])))[:, :, -1].numpy()
    for place, note in enumerate(notes):
        own = [t for t in told.token[told.note == note] if t < at]
        assert weights[:, :, place] == pytest.approx(rows[:, :, own].sum(-1), abs=1e-6)
    assert 0 < weights.sum(-1).max() <= 1 + 1e-6
    near, _ = attend(model, told, 20, 24)
    assert set(near.tolist()) < set(notes.tolist())
    assert attend(model, told, 0, 512)[0].tolist() == []
