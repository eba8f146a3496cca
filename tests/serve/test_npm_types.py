"""The npm client's types follow from the server's OpenAPI document: neither may go on without the other."""

import hashlib
import re
import runpy
from pathlib import Path

from midifactory.serve import schema, told
from serve.clients import events

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "npm"
AGAIN = "the server's interface has changed; run in clients/npm: npm run types"


def test_the_clients_document_is_the_servers():
    document = runpy.run_path(str(ROOT / "scripts" / "write_openapi.py"))["document"]()
    assert (CLIENT / "openapi.json").read_text(encoding="utf-8") == document, AGAIN


def test_the_clients_types_are_made_of_its_document():
    found = re.search(r"sha256 of openapi.json: (\w+)", (CLIENT / "src" / "schema.ts").read_text(encoding="utf-8"))
    assert found, AGAIN
    assert found[1] == hashlib.sha256((CLIENT / "openapi.json").read_bytes()).hexdigest(), AGAIN


def has_all(model, value, but=()):
    """Whether an answer is what the document says, nothing more and nothing less."""
    model.model_validate(value, strict=True)
    assert set(value) == set(model.model_fields) - set(but)


def test_answers_are_what_the_document_says(client, song):
    has_all(told.Health, client.get("/v1/health").json())
    has_all(told.Models, models := client.get("/v1/models").json())
    for model in models["models"]:
        has_all(told.Model, model)
    has_all(told.Styles, styles := client.get("/v1/styles").json())
    for style in styles["styles"]:
        has_all(told.Style, style)
    has_all(told.Analysis, analysis := client.post("/v1/analyze", files={"file": song}).json(), ["originality"])
    for track in analysis["tracks"]:
        has_all(told.AnalyzedTrack, track)
    has_all(schema.Pieces, pieces := client.post("/v1/generate", json={"bars": 1, "seed": 1}).json())
    (piece,) = pieces["pieces"]
    has_all(schema.Piece, piece)
    for model, values in (
        (schema.Note, piece["notes"]), (schema.Tempo, piece["tempos"]),
        (schema.Metre, piece["metres"]), (schema.Track, piece["tracks"]),
    ):  # fmt: skip
        assert values
        has_all(model, values[0])


def test_events_are_what_the_document_says(client):
    stream = events(client.post("/v1/stream", json={"bars": 1, "seed": 1}).text)
    of_names = dict(stream)
    has_all(told.StreamStart, of_names["start"])
    has_all(told.StreamNote, of_names["note"])
    has_all(told.StreamEnd, of_names["end"])
    has_all(told.StreamedPiece, of_names["end"]["pieces"][0])
