"""Nobody's request costs another's, nor more than it may: sizes, times, queues, tokens, names, odd files, leavers."""

import asyncio
import base64
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from midifactory.errors import UserError
from midifactory.music.score import Limits as MidiLimits
from midifactory.music.workers import Failure, GuardedWorker
from midifactory.serve.problems import Problem
from midifactory.serve.reading import Reader
from midifactory.serve.server import check_host
from midifactory.serve.shelf import Limits
from serve.clients import PROBLEM, Call, asking, events

LONG = json.dumps({"tokens": 4000, "seed": 1}).encode()
NAMES = (
    *(
        "../../etc/passwd",
        "..\\..\\windows\\system32\\x.mid",
        "/etc/cron.d/x",
        "C:\\x.mid",
        "....//....//x",
        "x\x00.mid",
    ),
    *(
        "%2e%2e%2fx",
        "..%c0%af..%c0%afx",
        "~/.ssh/authorized_keys",
        "$HOME/x",
        "`id`.mid",
        "; rm -rf x;.mid",
        "CON",
        ".",
    ),
    *("..", "", "a" * 5000, "x.mid/../../y", "file:///etc/passwd", "\u202ecod.mid"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_clients_file_name_never_touches_the_file_system(client, song, name, monkeypatch):
    opened: list[str] = []
    real_open = io.open

    def noted(file, *rest, **named):
        opened.append(str(file))
        return real_open(file, *rest, **named)

    monkeypatch.setattr(io, "open", noted)
    monkeypatch.setattr("builtins.open", noted)
    answer = client.post("/v1/analyze", files={"file": (name, song)})
    # A file without a name is no file, and a header has a length.
    assert answer.status_code in ((200,) if 0 < len(name) < 1000 else (200, 400, 422))
    assert not [path for path in opened if name.strip("./\\") and name.strip("./\\") in path]


def test_a_body_that_says_it_is_too_large_is_not_read(make_app):
    app = make_app(body_megabytes=0.01)
    read = []

    async def ask() -> int:
        async def receive():
            read.append(1)
            return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

        sent = []

        async def send(message):
            sent.append(message)

        for headers in ([(b"content-length", b"20000")], []):
            scope = {
                "type": "http", "method": "POST", "path": "/v1/generate", "headers": headers, "query_string": b"",
                "root_path": "", "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"},
            }  # fmt: skip
            await app(scope, receive, send)
            assert sent[0]["status"] == 413
            assert json.loads(sent[1]["body"])["limit"] == 10485
            if headers:
                assert not read
            sent.clear()
        return len(read)

    assert asyncio.run(ask()) == 11  # without a length it is read until it is too large


def test_a_body_that_does_not_come_is_not_waited_for(make_app):
    async def ask() -> None:
        app = make_app(body_seconds=0.05)
        async with app.router.lifespan_context(app):
            call = Call(app, "POST", "/v1/generate", b"", {"content-length": "10"})
            call._told = True
            await call.task
            assert call.status == 408

    asyncio.run(ask())


def test_time_is_limited(make_app):
    async def ask() -> None:
        async with asking(make_app(seconds=0.3, tokens=100_000)) as client:
            long = {"tokens": 90_000, "seed": 1}
            answer = await client.post("/v1/generate", json=long)
            assert (answer.status_code, answer.headers["content-type"]) == (504, PROBLEM)
            assert answer.json()["limit"] == 0.3
            stream = await client.post("/v1/stream", json=long)
            # Before the stream begins, or on its way.
            problem = stream.json() if stream.status_code != 200 else events(stream.text)[-1][1]
            assert problem["status"] == 504

    asyncio.run(ask())


def test_a_full_queue_refuses_and_says_when_to_come_again(make_app):
    async def ask() -> None:
        app = make_app(rows=2, queue=1, seconds=20)
        async with asking(app) as client:
            calls = [Call(app, "POST", "/v1/stream", LONG, {}) for _ in range(3)]
            await calls[0].until(b"event: note")
            await asyncio.sleep(0.1)
            answer = await client.post("/v1/generate", json={"bars": 1})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["name"] == "queue"
            for call in calls:
                call.left.set()
            await asyncio.gather(*(call.task for call in calls))
            assert (await client.post("/v1/generate", json={"bars": 1})).status_code == 200

    asyncio.run(ask())


def test_tokens_are_limited_and_the_piece_says_so(make_app):
    with TestClient(make_app(tokens=40)) as client:
        body = client.post("/v1/generate", json={"bars": 100, "seed": 1}).json()
        assert body["tokens"] == 40
        assert body["pieces"][0]["truncated"] is True
        assert client.post("/v1/generate", json={"tokens": 20, "seed": 1}).json()["pieces"][0]["truncated"] is False


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/generate"])
def test_who_leaves_frees_the_row(make_app, path):
    async def ask() -> None:
        app = make_app(rows=1)
        async with app.router.lifespan_context(app):
            call = Call(app, "POST", path, LONG, {})
            decoder = app.state.shelf.find(None).decoder
            while not decoder.running:
                await asyncio.sleep(0.01)
            call.left.set()
            await asyncio.wait_for(call.task, 1)
            for _ in range(100):
                if not decoder.running:
                    break
                await asyncio.sleep(0.01)
            assert (decoder.running, decoder.waiting) == (0, 0)
            assert app.state.shelf.find(None).rows == 0
            assert app.state.metrics.gone._value.get() == 1

    asyncio.run(ask())


def test_slow_readers_hold_no_rows_and_delay_nobody(make_app):
    async def ask() -> None:
        app = make_app(rows=2)
        async with asking(app) as client:
            slow = [
                Call(app, "POST", "/v1/stream", json.dumps({"tokens": 60, "seed": n}).encode(), {}) for n in range(4)
            ]
            for call in slow:
                call.may_read.clear()
            answers = await asyncio.gather(*(client.post("/v1/generate", json={"tokens": 30}) for _ in range(6)))
            assert {answer.status_code for answer in answers} == {200}
            decoder = app.state.shelf.find(None).decoder
            while decoder.running or decoder.waiting:
                await asyncio.sleep(0.01)
            for call in slow:
                call.may_read.set()
            await asyncio.gather(*(call.task for call in slow))
            assert all(events(b"".join(call.parts).decode())[-1][0] == "end" for call in slow)

    asyncio.run(ask())


def test_a_reader_who_never_reads_is_given_up(make_app):
    async def ask() -> None:
        app = make_app(seconds=1)
        async with app.router.lifespan_context(app):
            call = Call(app, "POST", "/v1/stream", b'{"bars": 1}', {})
            call.may_read.clear()
            await asyncio.wait_for(call.task, 10)
            assert call.parts == []
            assert app.state.shelf.find(None).rows == 0

    asyncio.run(ask())


def test_64_clients_at_once(make_app):
    async def ask() -> None:
        async with asking(make_app(rows=16, queue=64)) as client:
            asked = [{"tokens": 30, "seed": n % 8} for n in range(64)]
            answers = await asyncio.gather(*(client.post("/v1/generate", json=body) for body in asked))
            assert {answer.status_code for answer in answers} == {200}
            pieces = [answer.json()["pieces"] for answer in answers]
            assert all(pieces[n] == pieces[n % 8] for n in range(64))

    asyncio.run(ask())


def test_a_token_opens_and_nothing_else_does(make_app):
    with TestClient(make_app({"token": "a-token-of-some-length"})) as client:
        for header in (None, "Bearer", "Bearer wrong", "Basic a-token-of-some-length", "a-token-of-some-length"):
            answer = client.get("/v1/models", headers={"Authorization": header} if header else {})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.headers["content-type"] == PROBLEM
        assert client.get("/v1/models", headers={"Authorization": "bearer a-token-of-some-length"}).status_code == 200
        assert client.get("/v1/health").status_code == 200
        assert client.get("/openapi.json").json()["security"] == [{"bearer": []}]


def test_only_listed_origins_may_ask(make_app):
    with TestClient(make_app({"cors": ["https://a.example"]})) as client:
        for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
            answer = client.get("/v1/nothing", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed
    with TestClient(make_app()) as client:
        assert (
            "access-control-allow-origin"
            not in client.get("/v1/models", headers={"Origin": "https://a.example"}).headers
        )


def test_strangers_are_let_in_on_purpose_alone():
    check_host("127.0.0.1", None, False)
    check_host("::1", None, False)
    check_host("localhost", None, False)
    check_host("0.0.0.0", "a token", False)
    check_host("0.0.0.0", None, True)
    with pytest.raises(UserError, match=r"host=0\.0\.0\.0: everybody .*MIDIFACTORY_TOKEN"):
        check_host("0.0.0.0", None, False)


def test_limits_are_above_zero():
    with pytest.raises(UserError, match=r"limits\.rows=0"):
        Limits(rows=0)
    with pytest.raises(UserError, match=r"limits\.tokens=1\.5: give a whole number"):
        Limits(tokens=1.5)


def test_several_models_and_a_reload_while_one_composes(make_app):
    async def ask() -> None:
        app = make_app(models=("one", "two"))
        async with asking(app) as client:
            assert [model["name"] for model in (await client.get("/v1/models")).json()["models"]] == ["one", "two"]
            answer = await client.post("/v1/generate", json={"bars": 1, "model": "two", "seed": 1})
            assert answer.json()["model"] == "two"
            call = Call(app, "POST", "/v1/stream", json.dumps({"tokens": 300, "seed": 1}).encode(), {})
            await call.until(b"event: note")
            before = app.state.shelf.models["one"]
            assert (await client.post("/v1/reload?model=one")).status_code == 200
            assert app.state.shelf.models["one"] is not before
            await call.task
            assert events(b"".join(call.parts).decode())[-1][0] == "end"
            assert (await client.post("/v1/generate", json={"bars": 1})).status_code == 200
            for _ in range(100):
                if not before.running.alive:
                    break
                await asyncio.sleep(0.05)
            assert not before.running.alive
            assert (await client.post("/v1/reload?model=three")).status_code == 422
        async with asking(make_app({"reload": False})) as client:
            assert (await client.post("/v1/reload")).status_code == 403

    asyncio.run(ask())


def odd_files() -> dict[str, bytes]:
    """Files that are no music, hardly music, or too much of it."""
    head = b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0"
    track = b"\x00\xff\x2f\x00"
    note = b"\x00\x90\x3c\x40\x83\x60\x80\x3c\x00"
    chunk = lambda data: b"MTrk" + len(data).to_bytes(4, "big") + data  # noqa: E731
    return {
        "empty": b"",
        "text": b"no music",
        "header": head,
        "zero_division": head[:12] + b"\x00\x00" + chunk(note + track),
        "smpte": head[:12] + b"\xe7\x28" + chunk(note + track),
        "no_notes": head + chunk(track),
        "cut": head + chunk(note + track)[:-6],
        "huge_delta": head + chunk(b"\xff\xff\xff\x7f\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x00" + track),
        "tempo_zero": head + chunk(b"\x00\xff\x51\x03\x00\x00\x00" + note + track),
        "metre_odd": head + chunk(b"\x00\xff\x58\x04\x00\x00\x18\x08" + note + track),
        "metre_7_256": head + chunk(b"\x00\xff\x58\x04\x07\x08\x18\x08" + note + track),
        "many_tracks": head[:10] + b"\xff\xff\x01\xe0" + chunk(track) * 5000,
        "one_note": head + chunk(note + track),
        "name": head + chunk(b"\x00\xff\x03\x06\x1b[2J\x00\xff" + note + track),
    }


@pytest.mark.parametrize("name", odd_files())
def test_odd_files_are_answered(client, name):
    data = odd_files()[name]
    settings = {"/v1/continue": '{"bars": 1}', "/v1/infill": '{"bars": "all"}', "/v1/analyze": "{}"}
    for path, value in settings.items():
        answer = client.post(path, files={"file": ("x.mid", data)}, data={"settings": value})
        assert answer.status_code in (200, 422), (path, answer.text)
        if answer.status_code == 422:
            assert answer.headers["content-type"] == PROBLEM
    prompt = {"prompt": base64.b64encode(data).decode(), "bars": 1}
    assert client.post("/v1/generate", json=prompt).status_code in (200, 422)


def _misbehave(item: str) -> str:
    if item == "hang":
        threading.Event().wait()
    if item == "die":
        import os

        os._exit(3)
    if item == "eat":
        return str(len(bytearray(1 << 30)))
    return item


@pytest.mark.slow
def test_a_worker_that_stays_survives_what_it_is_given():
    worker = GuardedWorker(_misbehave, seconds=2, megabytes=200)
    try:
        kinds = {}
        for item in ("fine", "hang", "die", "eat", "fine"):
            found = worker.run(item)
            kinds[item] = found.kind if isinstance(found, Failure) else found
        assert kinds == {"fine": "fine", "hang": "timed_out", "die": "killed", "eat": "out_of_memory"}
    finally:
        worker.close()


@pytest.mark.slow
def test_files_are_read_in_another_process(song):
    reader = Reader(MidiLimits(max_megabytes=1.0))
    try:
        assert reader.read(song).note_num() == 24
        with pytest.raises(Problem, match="not a valid MIDI file"):
            reader.read(b"no music")
        assert reader.analyse(song)["statistics"]["bars"] == 4
    finally:
        reader.close()


@pytest.mark.slow
def test_an_archive_of_odd_files(client):
    """MIDIFACTORY_ODD_MIDI names a .tar.xz, or a folder, of files that have broken readers."""
    import os

    source = os.environ.get("MIDIFACTORY_ODD_MIDI")
    if source is None:
        pytest.skip("MIDIFACTORY_ODD_MIDI is not set")
    if Path(source).is_dir():
        files = [path.read_bytes() for path in Path(source).rglob("*") if path.is_file()]
    else:
        with tarfile.open(source) as archive:
            files = [archive.extractfile(item).read() for item in archive if item.isfile()]
    assert files
    for data in files:
        for path, value in (("/v1/continue", '{"bars": 1}'), ("/v1/infill", '{"bars": "1"}'), ("/v1/analyze", "{}")):
            answer = client.post(path, files={"file": ("x.mid", data)}, data={"settings": value})
            assert answer.status_code in (200, 413, 422), (path, answer.text)
