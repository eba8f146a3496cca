"""A file's notes, explained over HTTP."""

import base64
import json
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from midifactory.models.recurrent import Recurrent
from midifactory.models.vae import VAE
from midifactory.music.score import note_arrays, parse_score
from midifactory.serve import told
from midifactory.serve.app import create_app
from midifactory.serve.reading import Reader
from midifactory.serve.shelf import Limits, Shelf
from serve.clients import PROBLEM


def ask(client, path, song, **settings):
    return client.post(path, files={"file": ("x.mid", song)}, data={"settings": json.dumps(settings)})


def served(model, trained):
    limits = Limits(seconds=600)
    other = replace(trained, model=model.eval())
    return create_app(Shelf([("other", lambda: other)], limits), {}, reader=Reader(workers=0))


def test_every_note_of_a_file_is_explained(client, song, trained):
    answer = ask(client, "/v1/explain", song, alternatives=3)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    told.Explanation.model_validate(body, strict=True)
    assert (body["model"], body["skipped"]) == ("tiny", [])
    score = parse_score(song)
    arrays = note_arrays(score)
    found = sorted((n["track"], n["pitch"], n["onset_beats"], n["velocity"]) for n in body["notes"])
    columns = (arrays["track"], arrays["pitch"], arrays["onset"] / score.ticks_per_quarter, arrays["velocity"])
    assert found == sorted(zip(*(values.tolist() for values in columns), strict=True))
    for note in body["notes"]:
        assert {part["type"] for part in note["parts"]} >= {"Pitch", "Velocity", "Duration"}
        assert note["nats"] == pytest.approx(sum(part["nats"] for part in note["parts"]))
        shares = [item["probability"] for item in note["alternatives"]]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
        assert 0 < note["probability"] <= shares[0]
    assert body["nats_per_note"] > sum(note["nats"] for note in body["notes"]) / len(body["notes"])
    assert ask(client, "/v1/explain", song, alternatives=3).json() == body
    assert ask(client, "/v1/explain", song, alternatives=0).json()["notes"][0]["alternatives"] == []


def test_a_composed_piece_with_drums_can_be_explained(client):
    asked = {"bars": 2, "seed": 5, "instruments": ["piano", "drums"]}
    (piece,) = client.post("/v1/generate", json=asked).json()["pieces"]
    body = ask(client, "/v1/explain", base64.b64decode(piece["midi"])).json()
    key = ("track", "program", "pitch", "onset_beats")
    assert sorted(tuple(n[k] for k in key) for n in body["notes"]) == sorted(
        tuple(n[k] for k in key) for n in piece["notes"]
    )


def test_a_long_file_is_explained_as_far_as_the_limit(make_app, song):
    with TestClient(make_app(tokens=40)) as client:
        body = ask(client, "/v1/explain", song).json()
    assert 4 < len(body["notes"]) < 12
    assert "40 tokens" in body["skipped"][0]


def test_attention_is_told_of_earlier_notes(client, song):
    whole = ask(client, "/v1/attention", song, note=10).json()
    told.AttentionTold.model_validate(whole, strict=True)
    assert (whole["layers"], whole["heads"], whole["window_notes"]) == (1, 2, 10)
    assert [item["note"] for item in whole["weights"]] == list(range(10))
    assert 0 < sum(item["weight"] for item in whole["weights"]) < 1
    heads = [ask(client, "/v1/attention", song, note=10, layer=0, head=head).json()["weights"] for head in (0, 1)]
    for mean, *parts in zip(whole["weights"], *heads, strict=True):
        assert mean["weight"] == pytest.approx(sum(part["weight"] for part in parts) / 2)


@pytest.mark.parametrize("name", ["note", "layer", "head"])
def test_a_note_or_head_that_is_not_there(client, song, name):
    problem = ask(client, "/v1/attention", song, **{"note": 3, name: 500})
    assert (problem.status_code, problem.headers["content-type"]) == (422, PROBLEM)
    assert problem.json()["name"] == name
    assert "0 to " in problem.json()["detail"]


def test_models_that_cannot_say_so_in_one_line(trained, song):
    size = trained.tokenizer.vocab_size
    with TestClient(served(VAE(size, d_model=16, layers=1, latent_size=4), trained)) as client:
        problem = ask(client, "/v1/explain", song)
        assert problem.status_code == 422
        assert "VAE" in problem.json()["detail"]
    with TestClient(served(Recurrent(size, d_model=16, layers=1), trained)) as client:
        problem = ask(client, "/v1/attention", song, note=1)
        assert problem.status_code == 422
        assert "ask a transformer" in problem.json()["detail"]
        assert "\n" not in problem.json()["detail"]
        assert ask(client, "/v1/explain", song).status_code == 200


def test_mistakes(client, song):
    assert ask(client, "/v1/explain", b"MThd no file").status_code == 422
    assert ask(client, "/v1/explain", song, model="tinny").json()["remedy"] == "tiny"
    assert ask(client, "/v1/explain", song, alternatives=21).json()["name"] == "alternatives"
    assert ask(client, "/v1/attention", song).json()["name"] == "note"
