"""Writes the server's OpenAPI document, of which clients/npm makes its types: `npm run types` there calls this.

python scripts/write_openapi.py clients/npm/openapi.json
"""

import json
import sys
from pathlib import Path

from midifactory.files import write_text
from midifactory.serve.app import create_app
from midifactory.serve.reading import Reader
from midifactory.serve.shelf import Limits, Shelf


def document() -> str:
    """The document of a server with usual settings, as it is written."""
    app = create_app(Shelf([], Limits()), {}, reader=Reader(workers=0))
    return json.dumps(app.openapi(), indent=1) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), document())
