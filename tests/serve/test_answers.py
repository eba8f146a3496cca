"""What is asked is answered: in all forms, by all ways in, and the same for the same seed."""

import asyncio
import base64
import json

import pytest
from symusic import Score

from midifactory.music.score import parse_score
from serve.clients import PROBLEM, asking, events, told

TWO_BARS = {"bars": 2, "seed": 5, "metre": "4/4"}


def test_notes_as_json_are_those_of_the_file(client):
    answer = client.post("/v1/generate", json={**TWO_BARS, "num_samples": 2})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["seed"], len(body["pieces"])) == ("tiny", 5, 2)
    assert body["tokens"] > 20
    for piece in body["pieces"]:
        score = parse_score(base64.b64decode(piece["midi"]))
        assert (len(piece["notes"]), piece["bars"]) == (score.note_num(), 2)
        assert piece["notes"][-1]["onset_beats"] < 8
        assert piece["truncated"] is False
        assert piece["originality"] is None
        assert {track["program"] for track in piece["tracks"]} == {note["program"] for note in piece["notes"]}


@pytest.mark.parametrize(
    ("accept", "form", "begins"),
    [
        ("audio/midi", "audio/midi", b"MThd"),
        ("audio/wav;q=0.5, audio/midi;q=0.4", "audio/wav", b"RIFF"),
        ("image/*", "image/png", b"\x89PNG"),
    ],
)
def test_a_piece_as_the_client_accepts_it(client, accept, form, begins):
    answer = client.post("/v1/generate", json={"bars": 1, "seed": 5}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, form)
    assert answer.content.startswith(begins)
    assert (answer.headers["midifactory-seed"], answer.headers["midifactory-model"]) == ("5", "tiny")


def test_a_seed_that_was_drawn_gives_the_piece_again(client):
    first = client.post("/v1/generate", json={"bars": 1}).json()
    again = client.post("/v1/generate", json={"bars": 1, "seed": first["seed"]}).json()
    assert again["pieces"] == first["pieces"]
    assert client.post("/v1/generate", json={"bars": 1}).json()["seed"] != first["seed"]


def test_the_same_bytes_alone_and_under_eight_other_clients(make_app):
    async def compose() -> None:
        mine = {"tokens": 70, "seed": 5}
        async with asking(make_app(rows=4)) as client:
            alone = (await client.post("/v1/generate", json=mine)).json()["pieces"]
            others = [client.post("/v1/generate", json={"tokens": 90, "num_samples": 2, "seed": n}) for n in range(8)]
            again = [client.post("/v1/generate", json=mine) for _ in range(2)]
            answers = await asyncio.gather(*others[:4], *again, *others[4:])
            assert {answer.status_code for answer in answers} == {200}
            for answer in answers[4:6]:
                assert answer.json()["pieces"] == alone

    asyncio.run(compose())


@pytest.mark.parametrize("asked", [{}, {"style": "chords", "chords": "C G", "num_samples": 2}, {"key": "D minor"}])
def test_streamed_notes_are_those_of_the_finished_file(client, asked):
    asked = {"bars": 2, "seed": 3, **asked}
    (start, *_, (kind, end)) = found = events(client.post("/v1/stream", json=asked).text)
    assert start[0] == "start"
    assert kind == "end"
    assert end["seed"] == start[1]["seed"] == 3
    finished = client.post("/v1/generate", json=asked).json()["pieces"]
    for number, piece in enumerate(finished, start=1):
        notes = [data for name, data in found if name == "note" and data["sample"] == number]
        assert told(notes) == told(piece["notes"])
        assert end["pieces"][number - 1]["midi"] == piece["midi"]
        assert end["pieces"][number - 1]["notes"] == len(notes)


def test_a_stream_by_query_is_the_one_by_json(client):
    by_get = client.get("/v1/stream?bars=2&seed=9&style=chords&chords=C%20G&instruments=0&instruments=33")
    by_post = client.post(
        "/v1/stream", json={"bars": 2, "seed": 9, "style": "chords", "chords": "C G", "instruments": [0, 33]}
    )
    assert by_get.status_code == 200, by_get.text
    assert by_get.headers["content-type"].startswith("text/event-stream")
    notes = [told([data]) for name, data in events(by_get.text) if name == "note"]
    assert notes == [told([data]) for name, data in events(by_post.text) if name == "note"]
    assert notes


def test_a_prompt_is_where_the_piece_begins(client, song):
    prompt = base64.b64encode(song).decode()
    asked = {"prompt": prompt, "prompt_bars": 1, "bars": 1, "seed": 2}
    (piece,) = client.post("/v1/generate", json=asked).json()["pieces"]
    assert piece["prompt_end_beats"] == 4
    assert [note["pitch"] for note in piece["notes"] if note["program"] == 0][:4] == [60, 65, 70, 63]
    streamed = events(client.post("/v1/stream", json=asked).text)
    assert told([data for name, data in streamed if name == "note"]) == told(piece["notes"])


def test_a_file_goes_on_and_its_begin_is_untouched(client, song):
    files = {"file": ("../../etc/passwd", song, "audio/midi")}
    answer = client.post("/v1/continue", files=files, data={"settings": '{"from_bar": 3, "bars": 1, "seed": 4}'})
    assert answer.status_code == 200, answer.text
    (piece,) = answer.json()["pieces"]
    assert piece["prompt_end_beats"] == 8
    before = [n for n in piece["notes"] if n["onset_beats"] < 8]
    assert sorted((n["onset_beats"], n["pitch"]) for n in before) == sorted(
        (note.time / 480, note.pitch)
        for track in Score.from_midi(song).tracks
        for note in track.notes
        if note.time < 3840
    )
    assert piece["bars"] == 3


def test_a_gap_is_filled_and_the_rest_stays(client, song):
    files = {"file": ("song.mid", song)}
    answer = client.post("/v1/infill", files=files, data={"settings": '{"bars": "2", "tracks": "bass", "seed": 4}'})
    assert answer.status_code == 200, answer.text
    (piece,) = answer.json()["pieces"]
    assert piece["new_beats"] == [4, 8]
    right = [(n["onset_beats"], n["pitch"]) for n in piece["notes"] if n["program"] == 0]
    assert right == [(beat, 60 + beat * 5 % 12) for beat in range(16)]
    assert any(n["program"] == 33 and 4 <= n["onset_beats"] < 8 for n in piece["notes"])


def test_a_file_is_described(client, song):
    answer = client.post("/v1/analyze", files={"file": ("song.mid", song)}, data={"settings": '{"model": "tiny"}'})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["statistics"]["notes"] == 24
    assert body["attributes"]["bars"] == 4
    assert [track["name"] for track in body["tracks"]] == ["Right", "Bass"]
    assert body["originality"] is None


def test_lists(client):
    (model,) = client.get("/v1/models").json()["models"]
    assert (model["name"], model["infills"], model["programs"]) == ("tiny", True, [0, 33, 40])
    assert [style["name"] for style in client.get("/v1/styles").json()["styles"]] == ["chords", "free"]
    assert client.get("/v1/health").json()["status"] == "ok"
    assert client.get("/").json()["openapi"] == "/openapi.json"
    client.post("/v1/generate", json={"bars": 1})
    text = client.get("/v1/metrics").text
    assert 'midifactory_requests_total{method="POST",path="/v1/generate",status="200"}' in text
    assert 'midifactory_tokens_total{model="tiny"}' in text


def test_the_openapi_document_names_everything_and_asks_nothing_of_the_outside(client):
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    assert {"/v1/generate", "/v1/continue", "/v1/infill", "/v1/stream", "/v1/analyze", "/v1/models"} <= set(
        document["paths"]
    )
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named <= set(document["components"]["schemas"])
    assert {"GenerateRequest", "ContinueRequest", "InfillRequest", "ProblemDetails", "Pieces"} <= named
    assert document["components"]["schemas"]["GenerateRequest"]["examples"]
    assert "http" not in text.replace("HTTP", "")
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    ("asked", "name", "words"),
    [
        ({"barz": 2}, "barz", "did you mean bars"),
        ({"bars": 0}, "bars", "greater than or equal to 1"),
        ({"style": "chord"}, "style", "nearest: chords"),
        ({"model": "tini"}, "model", "nearest: tiny"),
        ({"style": {"name": "chords", "colour": 1}}, "style.colour", "no such setting"),
        ({"instruments": ["kazoo organ"]}, None, "kazoo organ"),
        ({"bars": 2, "seconds": 3}, None, "set exactly one of bars, seconds, tokens"),
        ({"chords": "C G"}, "chords", "set style=chords"),
        ({"best_by": "beauty"}, "best_by", "nearest:"),
        ({"conditions": {"composer": "Bach"}}, None, "trained without conditions"),
        ({"prompt_bars": 2}, None, "need a prompt"),
        ({"prompt": "bm8gbWlkaQ=="}, "prompt", "not a valid MIDI file"),
        ({"prompt": "?"}, "prompt", "base64"),
        ({"num_samples": 60}, "num_samples", "at most 16"),
        ({"max_copy_beats": 8}, "max_copy_beats", "names no index"),
    ],
)
def test_mistakes_are_problems_of_one_line(client, asked, name, words):
    for path in ("/v1/generate", "/v1/stream"):
        answer = client.post(path, json=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM), answer.text
        body = answer.json()
        assert words in body["detail"]
        assert "\n" not in body["detail"]
        assert body["status"] == 422
        assert body["title"]
        assert name is None or body["name"] == name


def test_other_problems_have_the_same_form(client):
    for method, path, status in (("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    for body in ('{"bars": NaN}', '{"bars": ', "[1]", '{"key": "\\ud800"}', '{"seed": ' + "9" * 5000 + "}", "[" * 5000):
        answer = client.post("/v1/generate", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == PROBLEM
    answer = client.post("/v1/generate", json={}, headers={"Accept": "video/mp4"})
    assert (answer.status_code, answer.json()["name"]) == (406, "Accept")
    answer = client.post("/v1/generate", json={"num_samples": 2}, headers={"Accept": "audio/midi"})
    assert (answer.status_code, answer.json()["name"]) == (422, "num_samples")
