"""What goes wrong, told as RFC 9457 has it: one line for people, and value, limit and remedy for programs."""

import difflib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from midifactory.errors import UserError

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "There is no such thing",
    405: "This method is not known here",
    406: "No such form of answer",
    408: "The request came too slowly",
    409: "It has been done already",
    413: "The request is too large",
    415: "This kind of request is not read",
    422: "This cannot be done",
    429: "Too many requests wait",
    500: "A mistake of the server",
    503: "Not in service",
    504: "It took too long",
}
# A line of ours: `name=value: the limit; the remedy`.
_LINE = re.compile(r"(?P<name>[\w.]+)=(?P<value>.*?): (?P<limit>.*?)(?:; (?P<remedy>.*))?", re.DOTALL)


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 describes it (application/problem+json)."""

    type: str = Field("about:blank", description="always about:blank: the status says what kind it is")
    title: str = Field(description="what kind of problem it is")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="one line: the value, the limit and the remedy")
    name: str | None = Field(None, description="of which field")
    value: Any = Field(None, description="what was given")
    limit: Any = Field(None, description="what is possible")
    remedy: str | None = Field(None, description="what to do instead")
    errors: list[dict[str, Any]] | None = Field(None, description="the fields that are wrong, where there are several")


class Problem(Exception):
    """An answer that is an error; `detail` is one line that gives the value, the limit and the remedy."""

    def __init__(
        self,
        status: int,
        detail: str,
        value: Any = None,
        limit: Any = None,
        remedy: str | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[dict[str, Any]] | None = None,
    ):
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})
        self.body: dict[str, Any] = {
            "type": "about:blank",
            "title": _TITLES.get(status, "An error"),
            "status": status,
            "detail": detail,
            "name": name,
            "value": value,
            "limit": limit,
            "remedy": remedy,
        }
        if errors:
            self.body["errors"] = list(errors)

    @classmethod
    def of(cls, error: UserError, status: int = 422) -> "Problem":
        """A user's mistake: its line is the detail, and is taken apart where it has the usual form."""
        text = str(error)
        found = _LINE.fullmatch(text)
        if found is None:
            return cls(status, text)
        return cls(status, text, found["value"], found["limit"], found["remedy"], found["name"])

    def response(self) -> Response:
        """The answer."""
        return Response(to_json(self.body), self.status, self.headers, MEDIA_TYPE)


def to_json(value: Any) -> bytes:
    """JSON in ASCII; what JSON has no number for is null, and what is no plain value is told as text."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):  # numpy's
        return _plain(value.item())
    return str(value)[:200]


def problem_of_fields(errors: Sequence[Mapping[str, Any]], known: Sequence[str] = ()) -> Problem:
    """What pydantic found wrong, the first of it as the detail. known: the names that there are."""
    told = []
    for error in errors:
        place = [str(part) for part in error.get("loc", ()) if part not in ("body", "query", "path")]
        name = ".".join(part for part in place if not part[:1].isupper() and "[" not in part and "-" not in part)
        value, context = error.get("input"), error.get("ctx") or {}
        remedy = None
        if error.get("type") == "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            limit, remedy = "no such field", f"did you mean {near[0]}?" if near else "leave it out"
            value = None
        elif error.get("type") == "missing":
            limit, value = "it is needed", None
        else:
            limit = str(error.get("msg", "not possible"))
            bounds = [context[key] for key in ("ge", "gt", "le", "lt", "max_length") if key in context]
            remedy = f"the bound is {bounds[0]}" if bounds else None
        told.append({"name": name or None, "value": _short(value), "limit": limit, "remedy": remedy})
    first = told[0] if told else {"name": None, "value": None, "limit": "not possible", "remedy": None}
    given = "" if first["value"] is None else f"={first['value']}"
    detail = f"{first['name'] or 'the request'}{given}: {first['limit']}"
    detail += f"; {first['remedy']}" if first["remedy"] else ""
    return Problem(422, detail, first["value"], first["limit"], first["remedy"], first["name"], errors=told)


def _short(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, int) or abs(value) < 1 << 63 else str(value)[:40]
    return str(value)[:100]


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is told as; what is no user's mistake is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UserError):
        return Problem.of(error)
    log.error("a request failed", exc_info=error)
    return Problem(500, "the server made a mistake, which its log describes; please report it")
