"""The page in the package is the one that its sources make: it is built by `npm run build` in apps/studio."""

import hashlib
import json
import re
from pathlib import Path

from midifactory.serve.page import BUILT

ROOT = Path(__file__).parents[2]
STUDIO = ROOT / "apps" / "studio"
FOLDERS = ("apps/studio/src", "apps/studio/public", "clients/npm/src")
FILES = ("index.html", "package.json", "package-lock.json", "stamp.ts", "tsconfig.json", "vite.config.ts")
AGAIN = "the page's sources have changed; run in apps/studio: npm run build"


def sources_sha256():
    """As apps/studio/stamp.ts reckons it."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths += [STUDIO / name for name in FILES]
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    digest = hashlib.sha256()
    for name in sorted(name for name in named if not re.search(r"\.test\.tsx?$", name)):
        content = named[name].read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def test_the_packaged_page_is_of_these_sources():
    assert (BUILT / "index.html").is_file(), AGAIN
    assert json.loads((BUILT / "build.json").read_text())["sources_sha256"] == sources_sha256(), AGAIN


def test_the_packaged_page_asks_no_other_host():
    """What it loads by itself: the addresses in its HTML and style sheets, of which none names a host."""
    index = (BUILT / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", index), "an inline script, which the server's policy forbids"
    styles = "".join(path.read_text(encoding="utf-8") for path in BUILT.rglob("*.css"))
    found = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", index) + re.findall(r"url\(([^)]+)\)", styles)
    assert found
    assert not [address for address in found if re.match(r"""["']?(?:https?:)?//""", address)]
