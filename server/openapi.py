"""The OpenAPI document: request bodies are read by hand (to keep them whole), so their schemas are added by hand."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

TEMPLATE = "#/components/schemas/{model}"


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body has this schema."""
    schema = {"$ref": TEMPLATE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def error_responses() -> dict[int | str, dict[str, Any]]:
    """Every error status a route may answer with, all in OpenAI's envelope."""
    schema = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "integer", "null"]},
                },
            }
        },
    }
    return {
        status: {"description": text, "content": {"application/json": {"schema": schema}}}
        for status, text in {
            "4XX": "The request cannot be served; `param` names the field.",
            "5XX": "The gateway or its backends failed.",
        }.items()
    }


def install(app: FastAPI, *bodies: type[BaseModel]) -> None:
    """Make `app.openapi()` include the schemas of the bodies."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for body in bodies:
                schema = body.model_json_schema(ref_template=TEMPLATE)
                schemas.update(schema.pop("$defs", {}))
                schemas[body.__name__] = schema
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
