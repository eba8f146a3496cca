"""The OpenAPI document, with what FastAPI cannot know of it: problems, the parts of forms, the token."""

from typing import Any

from fastapi import FastAPI

from midifactory.serve.problems import MEDIA_TYPE, ProblemDetails

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
            for model in (ProblemDetails, *app.state.models.values()):
                own = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(own.pop("$defs", {}))
                schemas[model.__name__] = own
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path, methods in document["paths"].items():
                for operation in methods.values():
                    refused = ("422", "429", "503", "504") if "music" in operation["tags"] else ()
                    for status in (*refused, *(("401",) if needs_token else ()), *(("413",) if path else ())):
                        operation["responses"][status] = dict(PROBLEM)
                    if not refused:
                        operation["responses"].pop("422", None)
                    if "requestBody" in operation or "parameters" in operation:
                        operation["responses"]["422"] = dict(PROBLEM)
            if needs_token:
                document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"bearer": []}]
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
