"""The OpenAPI document, with what FastAPI cannot know of it: problems, the parts of forms, the token."""

from typing import Any

from fastapi import FastAPI

from midifactory.serve.problems import MEDIA_TYPE, ProblemDetails
from midifactory.serve.told import EVENTS

PROBLEM: dict[str, Any] = {
    "description": "A problem (RFC 9457)",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
}


def complete_document(app: FastAPI, needs_token: bool) -> None:
    """Add to the OpenAPI document what FastAPI cannot know: problems everywhere, the parts of forms, the token."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (ProblemDetails, *EVENTS, *app.state.models.values()):
                own = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(own.pop("$defs", {}))
                schemas[model.__name__] = own
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
                statuses = {"401"} if needs_token else set[str]()
                if "requestBody" in operation:
                    statuses |= {"400", "408", "413"}
                if "requestBody" in operation or "parameters" in operation:
                    statuses.add("422")
                if "music" in operation["tags"]:
                    statuses |= {"406", "429", "503", "504"}
                operation["responses"].pop("422", None)  # FastAPI's own form of it
                operation["responses"] |= {status: dict(PROBLEM) for status in sorted(statuses)}
            if needs_token:
                document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"bearer": []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
