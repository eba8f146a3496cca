"""The studio: a page that lies beside this file once it has been built, and the sound it plays with."""

import re
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, JSONResponse, Response

from midifactory.serve.answers import JSON, form_of
from midifactory.serve.problems import Problem

BUILT = Path(__file__).with_name("studio")
HTML = "text/html"
# Nothing of another host, nothing that is written into the page; WebAssembly and its workers for sound.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self' blob:",
    "style-src": "'self' 'unsafe-inline'",  # components place their popovers by style attributes
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Referrer-Policy": "no-referrer",
}
_TYPES = {
    ".css": "text/css", ".html": HTML, ".ico": "image/x-icon", ".js": "text/javascript", ".json": JSON,
    ".map": JSON, ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain", ".wasm": "application/wasm",
    ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
_HASHED = re.compile(r"studio/.+-[\w-]{8}\.\w+")  # as Vite names what it builds; another content has another name
_FOR_EVER, _ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"


def add_page(app: FastAPI, folder: Path | None, soundfont: Path | None, about: Mapping[str, str]) -> None:
    """Serve the built page of `folder` at /, and a SoundFont; None for none.

    about: the answer of / where there is no page, or the client wants JSON.
    """

    def built() -> dict[str, Path]:
        """Files by their addresses. Only what lies there is served, so no address leads elsewhere."""
        if folder is None:
            return {}
        return {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def root(request: Request) -> Response:
        index = None if folder is None else folder / "index.html"
        if index is None or not index.is_file():
            return JSONResponse(dict(about))
        if form_of(request.headers.get("accept"), (HTML, JSON)) == JSON:
            return JSONResponse(dict(about), headers={"Vary": "Accept"})
        return _file(request, index, HTML, {**HEADERS, "Cache-Control": _ASK_AGAIN, "Vary": "Accept"})

    @app.api_route("/icon.svg", methods=["GET", "HEAD"], include_in_schema=False)
    @app.api_route("/studio/{name:path}", methods=["GET", "HEAD"], include_in_schema=False)
    def asset(request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        found = built().get(name)
        if found is None:
            raise Problem(404, f"{request.url.path[:100]}: the page has no such file; open /", remedy="open /")
        kind = _TYPES.get(found.suffix, "application/octet-stream")
        caching = _FOR_EVER if _HASHED.fullmatch(name) else _ASK_AGAIN
        return _file(request, found, kind, {**HEADERS, "Cache-Control": caching})

    @app.api_route("/soundfont.sf2", methods=["GET", "HEAD"], include_in_schema=False)
    def sound(request: Request) -> Response:
        if soundfont is None or not soundfont.is_file():
            place = "" if soundfont is None else f" at {soundfont.name}"
            remedy = "start the server with soundfont=FILE.sf2"
            raise Problem(404, f"soundfont: there is none{place}; {remedy}", remedy=remedy, name="soundfont")
        return _file(request, soundfont, "audio/x-soundfont", {"Cache-Control": _ASK_AGAIN})


def is_of_page(path: str) -> bool:
    """Whether this is a part of the page, which is needed before a token can be asked for."""
    return path in ("/", "/icon.svg", "/soundfont.sf2") or path.startswith("/studio/")


def _file(request: Request, path: Path, kind: str, headers: Mapping[str, str]) -> Response:
    """A file, or the word that it is still the one that the client has."""
    response = FileResponse(path, headers=dict(headers), media_type=kind, stat_result=path.stat())
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if response.headers["etag"] not in known:
        return response
    told = {name: value for name, value in response.headers.items() if name not in ("content-length", "content-type")}
    return Response(status_code=304, headers=told)
