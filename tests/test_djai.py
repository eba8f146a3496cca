"""The notebook interface: what it returns, that it repeats, what it says of mistakes; and the notebook itself."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from cli.conftest import run_command, write_folder
from midifactory import djai
from midifactory.errors import UserError
from midifactory.music.score import load_score, note_arrays
from midifactory.tokens.notes import NoteCodec

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "djai.ipynb"
SMALL = {"sequence_length_i": 8, "sequence_length_o": 4, "n_layers": 1, "n_units": 16, "dropout": 0.0}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return djai.scan_midi_files(write_folder(tmp_path_factory.mktemp("djai") / "midi", 4))


@pytest.fixture(scope="module")
def fitted(files):
    manager = djai.ModelManager(**SMALL)
    return manager, manager.fit(files, epochs=3)


def test_files_are_found_in_order_and_up_to_the_limit(tmp_path):
    for name in ("b.mid", "a.MIDI", "c/d.kar", "e.txt", "f.mid.bak"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = djai.scan_midi_files(tmp_path)
    assert [Path(file).relative_to(tmp_path).as_posix() for file in found] == ["a.MIDI", "b.mid", "c/d.kar"]
    assert djai.scan_midi_files(str(tmp_path), 2) == found[:2]
    (tmp_path / "empty").mkdir()
    for path, limit, words in (
        (tmp_path / "nowhere", None, "nowhere: no such folder"),
        (tmp_path / "empty", None, r"empty: no \.mid, \.midi or \.kar file below it"),
        (tmp_path, 0, "limit=0"),
    ):
        with pytest.raises(UserError, match=words):
            djai.scan_midi_files(path, limit)


def test_training_returns_its_history(fitted):
    _, history = fitted
    heads = ("pitch", "duration", "offset", "time_delta", "velocity", "track")
    assert set(history.history) == {"loss", *(f"{name}_loss" for name in heads)}
    assert all(len(values) == 3 for values in history.history.values())
    parts = np.sum([history.history[f"{name}_loss"] for name in heads], axis=0)
    np.testing.assert_allclose(history.history["loss"], parts, rtol=1e-5)
    assert history.history["loss"] == sorted(history.history["loss"], reverse=True)


def test_the_loss_is_weighted(files):
    history = djai.ModelManager(**SMALL, loss_weights={"pitch": 2.0, "offset": 0.0}).fit(files, epochs=1).history
    others = sum(history[f"{name}_loss"][0] for name in ("duration", "time_delta", "velocity", "track"))
    assert history["loss"][0] == pytest.approx(2 * history["pitch_loss"][0] + others, rel=1e-5)


def test_training_goes_on_where_it_was(files, fitted):
    manager = djai.ModelManager(**SMALL)
    first, second = manager.fit(files, epochs=2), manager.fit(files, epochs=2)
    assert second.history["loss"][0] < first.history["loss"][0]
    assert second.history["loss"][-1] < first.history["loss"][-1]


@pytest.mark.parametrize("model_type", ["gru", "lstm", "transformer"])
def test_music_is_tracks_of_pitch_duration_and_offset(files, model_type):
    manager = djai.ModelManager(**SMALL, num_instruments=2, model_type=model_type)
    manager.fit(files, epochs=1)
    tracks = manager.generate(files[0], length=30)
    assert len(tracks) == 2
    notes = [note for track in tracks for note in track]
    assert len(notes) == 30
    begin = manager.codec.features(load_score(Path(files[0])))[7, 2]
    for track in tracks:
        offsets = [offset for _, _, offset in track]
        assert offsets == sorted(offsets)
        assert all(offset >= begin for offset in offsets)
        for pitch, duration, offset in track:
            assert type(pitch) is int
            assert 0 <= pitch <= 127
            assert type(duration) is float
            assert duration > 0
            assert type(offset) is float


@pytest.mark.parametrize(("n_units", "heads"), [(64, 4), (100, 5), (90, 5), (34, 1), (6, 1)])
def test_a_transformer_has_heads_that_its_units_divide_into(n_units, heads):
    manager = djai.ModelManager(**SMALL | {"n_units": n_units}, model_type="transformer")
    assert manager.model.trunk.heads == heads


def test_seeds_repeat(files, fitted):
    manager, history = fitted
    again = djai.ModelManager(**SMALL)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert again.fit(files, epochs=3).history == history.history
    assert torch.equal(torch.get_rng_state(), before)  # what else is drawn in the notebook stays as it was
    assert again.generate(files[1]) == manager.generate(files[1]) == manager.generate(files[1], seed=0)
    assert manager.generate(files[1], seed=1) != manager.generate(files[1])
    other = djai.ModelManager(**SMALL, seed=1)
    assert not torch.equal(other.model.features.weight, djai.ModelManager(**SMALL).model.features.weight)


def test_what_is_saved_is_loaded_and_composes_elsewhere(files, fitted, tmp_path):
    manager, _ = fitted
    manager.save(tmp_path / "model.ckpt")
    loaded = djai.ModelManager.load(tmp_path / "model.ckpt")
    assert loaded.generate(files[2], length=20) == manager.generate(files[2], length=20)
    assert loaded.batch_size == 32
    loaded.fit(files, epochs=1)
    done = run_command(
        tmp_path, "generate", "checkpoint=model.ckpt", "tokens=12", "audio=false", "piano_roll=false", "device=cpu"
    )
    assert done.code == 0, done
    (piece,) = tmp_path.glob("outputs/generate/*/piece_01.mid")
    assert load_score(piece).note_num() == 12


def test_a_short_prompt_is_no_obstacle(fitted, tmp_path, score_from):
    manager, _ = fitted
    path = tmp_path / "short.mid"
    path.write_bytes(score_from([(0, [(0, 1, 60, 80), (1, 1, 64, 80)])]).dumps_midi())
    assert len(manager.generate(path, length=5)[0]) == 5


def test_files_that_cannot_be_read_are_named_and_left_out(files, tmp_path, capsys):
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"MThd")
    manager = djai.ModelManager(**SMALL)
    manager.fit([*files, broken], epochs=1)
    assert f"skipped {broken}: truncated" in capsys.readouterr().out
    with pytest.raises(UserError, match="none of 1 pieces could be read"):
        djai.ModelManager(**SMALL).fit([broken], epochs=1)
    with pytest.raises(UserError, match=r"broken.mid: truncated: .*; give another MIDI file"):
        manager.generate(broken)


def test_mistakes_are_told_in_one_line(files, tmp_path):
    for settings, words in (
        ({"model_type": "rnn"}, "model_type='rnn': choose one of lstm, gru, transformer"),
        ({"n_units": 0}, "n_units=0: give a whole number of at least 1"),
        ({"model_type": "transformer", "n_units": 7}, "d_model=7"),
        ({"sequence_length_i": 0}, "sequence_length_i=0"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"loss_weights": {"rhythm": 1}}, "loss_weights has rhythm"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            djai.ModelManager(**settings)
        assert "\n" not in str(caught.value)
    manager = djai.ModelManager(**SMALL)
    for call, words in (
        (lambda: manager.fit([tmp_path / "no.mid"]), "no.mid: no such file"),
        (lambda: manager.fit([]), r"files=\[\]: give a list"),
        (lambda: manager.fit(files[0]), "give a list of MIDI files"),
        (lambda: manager.fit(files, epochs=0), "epochs=0"),
        (lambda: manager.generate(files[0]), r"generate: nothing is learnt yet; call fit"),
        (lambda: manager.save(tmp_path / "model.ckpt"), "save: nothing is learnt yet"),
        (lambda: manager.generate(files[0], length=0), "length=0"),
        (lambda: djai.ModelManager.load(tmp_path / "no.ckpt"), "no.ckpt: no such file"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_tracks_become_a_midi_file(tmp_path):
    tracks = [[(60, 0.5, 7.0), (64, 1.0, 7.5)], [(40, 2.0, 7.25)]]
    djai.write_midi(tracks, tmp_path / "tracks.mid")
    score = load_score(tmp_path / "tracks.mid")
    assert len(score.tracks) == 2
    rows = NoteCodec(num_instruments=2).features(score)
    np.testing.assert_allclose(rows[:, :3], [[60, 0.5, 0], [40, 2, 0.25], [64, 1, 0.5]], atol=1e-3)
    assert rows[:, 6].tolist() == [0, 1, 0]
    djai.write_midi([[(60, 0.5, 7.0)], []], tmp_path / "one.mid")
    assert note_arrays(load_score(tmp_path / "one.mid"))["onset"].tolist() == [0]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert outputs[-1]["data"]["text/plain"] == "True"
    assert not list(tmp_path.iterdir())
