"""The studio's page: its files and no others, under headers that let nothing of other hosts in."""

import pytest
from starlette.testclient import TestClient

from midifactory.render.audio import soundfont_path
from serve.clients import PROBLEM

TOKEN = "a token of test only"
AGAIN = "If-None-Match"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A built page, with a secret beside it and a link out of it."""
    outside = tmp_path_factory.mktemp("serve")
    (outside / "secret.txt").write_text("secret")
    folder = outside / "studio"
    (folder / "studio").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>The page</title>")
    (folder / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "studio" / "index-Ab3_d-90.js").write_text("export {};")
    (folder / "studio" / "plain.css").write_text("p {}")
    (folder / "studio" / "link.txt").symlink_to(outside / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def client(make_app, page, tmp_path_factory):
    sound = tmp_path_factory.mktemp("sound") / "own.sf2"
    sound.write_bytes(b"RIFF" + bytes(range(200)))
    with TestClient(make_app({"page": page, "soundfont": sound, "token": TOKEN})) as client:
        yield client


def directives(answer):
    parts = answer.headers["content-security-policy"].split("; ")
    return {name: values for name, *values in (part.split() for part in parts)}


def test_the_page_is_open_and_strict(client):
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "The page" in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    rules = directives(answer)
    assert rules["default-src"] == rules["connect-src"] == ["'self'"]
    assert rules["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert rules["worker-src"] == ["'self'", "blob:"]
    for closed in ("frame-ancestors", "base-uri", "form-action"):
        assert rules[closed] == ["'none'"]
    assert not any("://" in value or value == "*" for values in rules.values() for value in values)
    assert client.get("/v1/models").status_code == 401


def test_programs_get_json_where_the_page_is(client):
    answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.json()["models"] == "/v1/models"
    assert answer.headers["vary"] == "Accept"
    assert client.get("/", headers={"Accept": "*/*"}).headers["content-type"].startswith("text/html")


def test_hashed_files_are_kept_and_others_asked_for_again(client):
    script = client.get("/studio/index-Ab3_d-90.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert "worker-src" in directives(script), "a worker obeys the headers of its own script"
    assert client.get("/studio/plain.css").headers["cache-control"] == "no-cache"
    assert client.get("/icon.svg").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize(
    "path",
    [
        "/studio/../secret.txt", "/studio/..%2fsecret.txt", "/studio/%2e%2e/%2e%2e/secret.txt", "/studio/link.txt",
        "/studio/", "/studio/studio/plain.css", "/studio/%2fetc/passwd", "/studio/..%5csecret.txt", "/studio/%00",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(client, path):
    answer = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM
    assert client.get("/%2e%2e/secret.txt").status_code in (401, 404)


def test_the_soundfont_is_sent_once(client):
    first = client.get("/soundfont.sf2")
    assert (first.status_code, first.content[:4]) == (200, b"RIFF")
    again = client.get("/soundfont.sf2", headers={AGAIN: f'"another", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.get("/soundfont.sf2", headers={AGAIN: '"another"'}).content == first.content
    assert client.get("/soundfont.sf2", headers={"Range": "bytes=4-6"}).content == bytes(range(3))
    head = client.head("/soundfont.sf2")
    assert (head.content, head.headers["content-length"]) == (b"", "204")


def test_without_page_or_soundfont(make_app, tmp_path):
    with TestClient(make_app({"soundfont": tmp_path / "none.sf2"})) as client:
        assert client.get("/", headers={"Accept": "text/html"}).json()["health"] == "/v1/health"
        assert client.get("/studio/index.html").status_code == client.get("/icon.svg").status_code == 404
        problem = client.get("/soundfont.sf2")
        assert problem.status_code == 404
        assert "soundfont=FILE.sf2" in problem.json()["remedy"]
        assert str(tmp_path) not in problem.text


def test_the_usual_soundfont_is_there():
    assert soundfont_path().read_bytes()[:4] == b"RIFF"
