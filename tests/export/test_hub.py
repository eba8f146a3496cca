"""A model comes out of an exported folder bit by bit as it went in, or not at all."""

import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from midifactory.errors import UserError
from midifactory.export.hub import load_folder, save_folder
from midifactory.export.model_card import About, about_run
from midifactory.models.notes import NoteModel
from midifactory.tokens.notes import NoteCodec, Scaler
from midifactory.training.checkpoint_folder import read_checkpoint, verify
from midifactory.training.notes import TrainedNotes
from midifactory.training.safe_weights import load_weights, save_weights

RECURRENT = "midifactory.models.recurrent.Recurrent"
RESULT = {
    "checkpoint": "outputs/train/x/checkpoints/best.ckpt",
    "test": {"pieces": 3, "nats_per_note": 4.5, "unigram_nats_per_note": 9.0, "uniform_nats_per_note": 20.0},
    "minutes": 1.5,
    "steps": 7,
}


@pytest.mark.parametrize(
    ("target", "keywords"),
    [(None, {}), (None, {"experts": 2, "tie_embeddings": False}), (RECURRENT, {"cell": "gru"})],
    ids=["tied", "experts", "gru"],
)
@torch.no_grad()
def test_a_folder_gives_back_the_model(new_trained, tmp_path, target, keywords):
    trained = new_trained(**({"target": target} if target else {}), **keywords)
    ids = torch.randint(trained.tokenizer.vocab_size, (2, 30))
    folder = save_folder(trained, tmp_path / "model")
    assert {path.name for path in folder.iterdir()} == {
        *("model.safetensors", "config.json", "tokenizer.json", "README.md", "hashes.json")
    }
    back = load_folder(folder)
    assert torch.equal(back.model(ids).logits, trained.model(ids).logits)
    assert back.tokenizer.fingerprint == trained.tokenizer.fingerprint
    for name in ("window", "profile", "corpus", "segment", "model_config", "conditions"):
        assert getattr(back, name) == getattr(trained, name), name
    with pytest.raises(UserError, match=r"has no training\.pt: it can be composed with, but not be resumed"):
        verify(folder)
    with pytest.raises(UserError, match=r"has no training\.pt"):
        read_checkpoint(folder)


def test_what_is_tied_is_stored_once_and_halves_come_back_as_floats(new_trained, tmp_path):
    trained = new_trained()
    weights = trained.model.state_dict()
    save_weights(weights, tmp_path / "a.safetensors")
    save_weights(weights, tmp_path / "b.safetensors", torch.float16)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert len({"inputs.tokens.weight", "head.weight"} & set(file.keys())) == 1
    full, half = (load_weights(tmp_path / f"{name}.safetensors") for name in "ab")
    assert full.keys() == half.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(full[name], value)
        assert torch.equal(half[name], value.half().float())
        assert half[name].dtype == torch.float32


def test_nothing_of_this_machine_goes_along(new_trained, tmp_path):
    trained = new_trained()
    trained.finetuned = {"from": "/home/ada/runs/best.ckpt", "before": {}, "lora": {"rank": 2}}
    folder = save_folder(trained, tmp_path / "model")
    text = (folder / "config.json").read_text() + (folder / "README.md").read_text()
    assert str(Path.cwd().resolve()) not in text
    assert "/home/ada" not in text
    card = json.loads((folder / "config.json").read_text())
    assert card["originality"] == ["outputs/prepared/hand/originality"]
    assert card["finetuned"]["lora"] is None  # its weights are merged
    assert "settings" not in card


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_or_shortened_file_is_refused(new_trained, tmp_path, name):
    folder = save_folder(new_trained(), tmp_path / "model")
    path = folder / name
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(UserError, match=rf"model is damaged: {name} has changed \(SHA-256\); export or download it"):
        load_folder(folder)
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf"damaged: {name} has {len(whole) - 1} bytes, {len(whole)} were written"):
        load_folder(folder)
    path.unlink()
    with pytest.raises(UserError, match=rf"damaged: {name}"):
        load_folder(folder)


def test_a_folder_that_holds_something_stays_as_it_is(new_trained, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.mid").write_text("music")
    with pytest.raises(UserError, match="mine is not empty; name a new one"):
        save_folder(new_trained(), tmp_path / "mine")
    with pytest.raises(UserError, match=r"song\.mid is a file"):
        save_folder(new_trained(), tmp_path / "mine" / "song.mid")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["song.mid"]
    (tmp_path / "empty").mkdir()
    load_folder(save_folder(new_trained(), tmp_path / "empty"))


@torch.no_grad()
def test_models_of_note_features_too(tmp_path, hand_scores):
    codec = NoteCodec(num_instruments=2, sequence_length_i=5, sequence_length_o=3, bins=8)
    scaler = Scaler.fit([codec.features(hand_scores["tempos"])])
    config = {"_target_": RECURRENT, "cell": "gru", "d_model": 16, "layers": 1}
    from midifactory.training.notes import build_note_model

    model = build_note_model(config, codec, np.arange(32.0).reshape(4, 8)).eval()
    trained = TrainedNotes(model, codec, scaler, {"metre": "4/4"}, "hand", Path("x"), "0" * 64, config)
    back = load_folder(save_folder(trained, tmp_path / "model"))
    assert isinstance(back, TrainedNotes)
    assert isinstance(back.model, NoteModel)
    assert back.scaler.to_dict() == scaler.to_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], value), name


def head_of(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def test_the_card_says_what_the_run_recorded_and_no_more(new_trained, tmp_path):
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "overrides.yaml").write_text(
        "- data=folder\n- data.root=/home/ada/midis\n- run_dir=/home/ada/x\n- model.d_model=16\n"
    )
    (run / "result.json").write_text(json.dumps(RESULT))
    about = about_run(run / "checkpoints" / "best.ckpt", {"seed": 5}, license="cc-by-4.0", name="My model")
    trained = new_trained()
    text = (save_folder(trained, tmp_path / "model", about) / "README.md").read_text()
    head = head_of(text)
    assert (head["license"], head["library_name"]) == ("cc-by-4.0", "midifactory")
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == 4.5
    assert "midifactory train data=folder data.root=midis model.d_model=16\n" in text
    assert "| test | 3 | 4.500 | 9.000 | 20.000 |" in text
    assert "- seed: 5\n" in text
    assert f"{trained.model.parameters_count:,} parameters" in text
    assert "/home/ada" not in text

    # The figures are those of the best checkpoint, not of another one of the run.
    other = about_run(run / "checkpoints" / "last.ckpt", {})
    text = (save_folder(trained, tmp_path / "other", other) / "README.md").read_text()
    assert "nats" not in text
    assert head_of(text) == {"license": "other", "license_name": "not-stated"} | {
        name: head[name] for name in ("library_name", "tags")
    }


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"license": "My licence!"}, "license=My licence!: write it as the Hub does"),
        ({"license": "mit", "license_name": "x"}, "license_name=x is for license=other"),
    ],
)
def test_a_licence_that_the_hub_would_refuse(keywords, words):
    with pytest.raises(UserError, match=words):
        About(**keywords)


@torch.no_grad()
def test_from_pretrained_and_save_pretrained_ask_no_network(new_trained, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    from midifactory.export.pretrained import PretrainedModel

    def refuse(*_arguments, **_keywords):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    trained = new_trained()
    PretrainedModel(trained).save_pretrained(tmp_path / "model")
    model = PretrainedModel.from_pretrained(tmp_path / "model")
    ids = torch.randint(trained.tokenizer.vocab_size, (1, 20))
    assert torch.equal(model.trained.model(ids).logits, trained.model(ids).logits)
    assert hub.ModelCard.load(tmp_path / "model" / "README.md").data.library_name == "midifactory"
    save_folder(trained, tmp_path / "named", About(name="Its own card"))
    PretrainedModel.from_pretrained(tmp_path / "named").save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == (tmp_path / "named" / "README.md").read_text()
    load_folder(tmp_path / "copy")
    one, other, unlike = (model.compose(bars=1, seed=seed)[0].dumps_midi() for seed in (1, 1, 2))
    assert one == other != unlike
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="ada/none: no such folder, and not to be had from the Hub"):
        PretrainedModel.from_pretrained("ada/none", cache_dir=tmp_path / "cache")
    with pytest.raises(UserError, match="a b: no such folder"):
        PretrainedModel.from_pretrained("a b")


def test_a_push_makes_the_repository_and_uploads_the_folder(new_trained, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    from midifactory.export.push import check_repository, push_folder

    asked = []

    class Api:
        def create_repo(self, name, exist_ok):
            asked.append(("create", name, exist_ok))
            return hub.RepoUrl(f"https://huggingface.co/{name}")

        def upload_folder(self, repo_id, folder_path, commit_message):
            asked.append(("upload", repo_id, sorted(path.name for path in folder_path.iterdir())))
            return "https://huggingface.co/ada/chorales/commit/1"

    monkeypatch.setattr(hub, "HfApi", Api)
    folder = save_folder(new_trained(), tmp_path / "model")
    assert push_folder(folder, "ada/chorales") == "https://huggingface.co/ada/chorales/commit/1"
    names = ["README.md", "config.json", "hashes.json", "model.safetensors", "tokenizer.json"]
    assert asked == [("create", "ada/chorales", True), ("upload", "ada/chorales", names)]

    def fail(*_arguments, **_keywords):
        raise OSError("401 Unauthorized\nmore of it")

    monkeypatch.setattr(Api, "create_repo", fail)
    with pytest.raises(UserError, match=r"push=ada/chorales: 401 Unauthorized; the folder is at .*login") as caught:
        push_folder(folder, "ada/chorales")
    assert "\n" not in str(caught.value)
    for name in ("chorales", "ada/", "ada/my model", "https://huggingface.co/ada/x", "../x/y"):
        with pytest.raises(UserError, match="write OWNER/NAME"):
            check_repository(name)
    check_repository("ada/four-part_chorales.v2")
