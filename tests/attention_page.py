"""A page of attention as a browser reads it, for the tests that make one."""

import base64
import json
from html.parser import HTMLParser

import numpy as np


def read_page(path):
    """The data and the weights (L, H, T, T) of a page, as a browser would read them."""
    text = path.read_text(encoding="utf-8")
    found = {}

    class Scripts(HTMLParser):
        def handle_starttag(self, tag, attrs):
            self.name = dict(attrs).get("id") if tag == "script" else None

        def handle_data(self, data):
            if getattr(self, "name", None):
                found[self.name] = found.get(self.name, "") + data

    Scripts().feed(text)
    data = json.loads(found["data"])
    packed = np.frombuffer(base64.b64decode(found["weights"]), dtype=np.uint8)
    size = len(data["tokens"])
    weights = np.zeros((data["layers"], data["heads"], size, size))
    at = 0
    for layer in range(data["layers"]):
        for head in range(data["heads"]):
            for row in range(size):
                weights[layer, head, row, : row + 1] = (packed[at : at + row + 1] / 255) ** 2
                at += row + 1
    assert at == len(packed)
    return text, data, weights
