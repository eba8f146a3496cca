"""A page as a browser takes it, for the tests that make one."""

from html.parser import HTMLParser

HOSTILE = "<script>alert('x')</script>&\"'{{ 7 * 7 }}{% raw %}\udcff.mid"
_VOID = {"meta", "br", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and an error for a tag that is closed out of turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data):
        self.text += data
