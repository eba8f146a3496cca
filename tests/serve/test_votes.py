"""Two models heard blind: nothing tells which is which, and every vote is kept once."""

import base64
import json
import threading
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from symusic import Score, TimeSignature, Track

from midifactory.evaluation.proportions import wilson_interval
from midifactory.serve import told
from midifactory.serve.app import Options, create_app
from midifactory.serve.asking import Result
from midifactory.serve.blind import Composer, Pair, Pairs, disguised
from midifactory.serve.problems import Problem
from midifactory.serve.reading import Reader
from midifactory.serve.shelf import Limits, Shelf
from midifactory.serve.votes import Votes
from schemes import make_score
from serve.conftest import STYLES

NAMES = ["leaf", "stone"]
SHA = {"leaf": "a" * 64, "stone": "b" * 64}


@pytest.fixture
def votes(tmp_path):
    return Votes(tmp_path / "new" / "votes.jsonl")


@pytest.fixture
def client(trained, votes):
    limits = Limits(seconds=600.0)
    shelf = Shelf([(n, lambda n=n: replace(trained, sha256=SHA[n])) for n in NAMES], limits)
    with TestClient(create_app(shelf, STYLES, Options(limits, votes=votes), Reader(workers=0))) as client:
        yield client


def ask(client, **settings):
    return client.post("/v1/blind", json={"models": NAMES, "settings": {"bars": 1, **settings}})


def lines(votes):
    return [json.loads(line) for line in votes.path.read_text().splitlines()]


def test_nothing_tells_which_is_which(client, votes, monkeypatch):
    seeds = iter([111222333, 444555666])
    monkeypatch.setattr("midifactory.serve.polling.seed_of", lambda _: next(seeds))
    answer = ask(client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    told.BlindPair.model_validate(body, strict=True)
    assert set(body) == {"pair", "first", "second"}
    shown = answer.text + json.dumps(dict(answer.headers))
    for piece in (body["first"], body["second"]):
        shown += base64.b64decode(piece["midi"]).decode("latin1")
        assert piece["notes"]
        assert piece["originality"] is None
        assert piece["sample"] == 1
    for secret in (*NAMES, *SHA.values(), "111222333", "444555666", "said"):
        assert secret not in shown
    by_program = [{t["program"]: t["name"] for t in body[place]["tracks"]} for place in ("first", "second")]
    assert all(by_program[0][p] == by_program[1][p] for p in by_program[0].keys() & by_program[1].keys())
    assert not votes.path.exists()


def test_each_pair_is_of_both_models_in_an_order_that_is_drawn(client, votes):
    firsts = set()
    for _ in range(20):  # all in one order: once in 500,000 runs
        pair = ask(client, tokens=12, bars=None).json()["pair"]
        answer = client.post("/v1/votes", json={"pair": pair, "choice": "neither"}).json()
        assert sorted((answer["first"], answer["second"])) == NAMES
        firsts.add(answer["first"])
    assert firsts == set(NAMES)
    assert {tuple(vote["models"][0]) for vote in lines(votes)} == {("name", "sha256", "seed")}


def test_a_vote_is_kept_once_and_tells_how_to_compose_both_again(client, votes):
    prompt = {"chords": "C G", "style": {"name": "chords", "minor_chords": None}}
    body = ask(client, **prompt).json()
    answer = client.post("/v1/votes", json={"pair": body["pair"], "choice": "second"})
    assert answer.status_code == 200, answer.text
    told.Voted.model_validate(answer.json(), strict=True)
    (vote,) = lines(votes)
    assert vote["choice"] == "second"
    assert [model["name"] for model in vote["models"]] == [answer.json()["first"], answer.json()["second"]]
    for place, model in zip(("first", "second"), vote["models"], strict=True):
        assert model["sha256"] == SHA[model["name"]]
        again = {**vote["settings"], "model": model["name"], "seed": model["seed"]}
        (piece,) = client.post("/v1/generate", json=again).json()["pieces"]
        key = ("program", "pitch", "onset_beats", "duration_beats", "velocity")
        assert sorted(tuple(n[k] for k in key) for n in piece["notes"]) == sorted(
            tuple(n[k] for k in key) for n in body[place]["notes"]
        )
    second = client.post("/v1/votes", json={"pair": body["pair"], "choice": "first"})
    assert second.status_code == 409
    assert "POST /v1/blind" in second.json()["remedy"]
    assert len(lines(votes)) == 1
    told.VotesTold.model_validate(client.get("/v1/votes").json(), strict=True)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"models": ["leaf", "leaf"]}, "models"),
        ({"models": ["leaf"]}, "models"),
        ({"models": ["leaf", "ston"]}, "model"),
        ({"models": NAMES, "settings": {"seed": 5}}, "settings.seed"),
        ({"models": NAMES, "settings": {"num_samples": 2}}, "settings.num_samples"),
        ({"models": NAMES, "settings": {"key": "H"}}, "key"),
    ],
)
def test_what_cannot_be_compared(client, body, name):
    problem = client.post("/v1/blind", json=body)
    assert (problem.status_code, problem.json()["name"]) == (422, name), problem.text


def test_votes_on_nothing(client, make_app):
    assert client.post("/v1/votes", json={"pair": "none", "choice": "first"}).status_code == 404
    assert client.post("/v1/votes", json={"pair": "none", "choice": "both"}).status_code == 422
    with TestClient(make_app(models=("leaf", "stone"))) as closed:
        for answer in (ask(closed), closed.post("/v1/votes", json={"pair": "x", "choice": "first"}),
                       closed.get("/v1/votes")):  # fmt: skip
            assert answer.status_code == 403
            assert "votes=FILE.jsonl" in answer.json()["detail"]


def test_a_vote_that_cannot_be_written_may_be_given_again(client, votes):
    pair = ask(client).json()["pair"]
    votes.path.parent.parent.joinpath("new").write_text("no folder")
    assert client.post("/v1/votes", json={"pair": pair, "choice": "first"}).status_code == 503
    votes.path.parent.unlink()
    assert client.post("/v1/votes", json={"pair": pair, "choice": "first"}).status_code == 200


def vote_of(first, second, choice):
    return {"models": [{"name": n, "sha256": SHA.get(n, "c")} for n in (first, second)], "choice": choice}


def test_results_are_counted_whatever_the_order(votes):
    assert votes.results() == []
    for first, second, choice, times in (
        ("leaf", "stone", "first", 3), ("stone", "leaf", "second", 4), ("stone", "leaf", "first", 2),
        ("leaf", "stone", "neither", 5), ("leaf", "other", "neither", 1),
    ):  # fmt: skip
        for _ in range(times):
            votes.add(vote_of(first, second, choice))
    undecided, both = votes.results()
    assert undecided["models"] == ["leaf", "other"]
    assert (undecided["share"], undecided["low"], undecided["high"], undecided["neither"]) == (None, None, None, 1)
    assert both["models"] == NAMES
    assert both["sha256"] == list(SHA.values())
    assert (both["wins_first_model"], both["wins_second_model"], both["neither"]) == (7, 2, 5)
    assert both["share"] == pytest.approx(7 / 9)
    assert (both["low"], both["high"]) == wilson_interval(7, 9)


def test_a_torn_line_spoils_no_other(votes):
    votes.add(vote_of("leaf", "stone", "first"))
    whole = votes.path.read_bytes()
    for torn in (whole[:-9], b"\xff\xfe", b"[]", b'{"models": 3}'):
        votes.path.write_bytes(whole + torn)
        assert votes.results()[0]["wins_first_model"] == 1
        votes.add(vote_of("leaf", "stone", "second"))
        assert votes.results()[0]["wins_second_model"] == 1


def test_votes_of_many_threads_are_whole(votes):
    def give():
        for _ in range(10):
            votes.add(vote_of("leaf", "stone", "first"))

    threads = [threading.Thread(target=give) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(votes)) == 40


def test_pairs_live_an_hour_and_are_not_many():
    now = [0.0]
    pairs = Pairs(lambda: now[0])
    composers = (Composer("leaf", "a", 1), Composer("stone", "b", 2))
    names = [pairs.add(Pair(composers, {})) for _ in range(257)]
    assert len(set(names)) == 257
    with pytest.raises(Problem) as gone:
        pairs.find(names[0])
    assert gone.value.status == 404
    now[0] = 3599.0
    assert pairs.find(names[-1]).composers == composers
    now[0] = 3601.0
    with pytest.raises(Problem, match="no longer"):
        pairs.find(names[-1])


def test_a_disguise_changes_no_note():
    score = make_score([(40, [(0, 1, 60, 80)]), (0, [(0, 1, 48, 70), (1, 1, 50, 70)]), (40, [(1, 2, 64, 90)])])
    score.tracks[0].name = "Model A"
    score.tracks.append(Track("Kit of A", 0, True))
    score.time_signatures.append(TimeSignature(0, 3, 4))
    shown = disguised(Result(score, 480)).score

    def notes(piece: Score):
        return sorted(
            (t.program, t.is_drum, n.time, n.pitch, n.duration, n.velocity) for t in piece.tracks for n in t.notes
        )

    assert notes(shown) == notes(score)
    assert "Model A" not in [track.name for track in shown.tracks]
    assert shown.time_signatures[-1].numerator == 3
    assert shown.tempos[0].qpm == pytest.approx(score.tempos[0].qpm)


def test_a_vote_keeps_no_file():
    vote = Pair((Composer("a", "1", 1), Composer("b", "2", 2)), {"prompt": "TVRo", "bars": 2}).vote("first")
    assert vote["settings"]["prompt"].startswith("sha256:")
    assert vote["settings"]["bars"] == 2
