"""The OpenAPI document: bodies are read and written whole, by hand, so their schemas are added by hand."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from core.types import StopReason

TEMPLATE = "#/components/schemas/{model}"
COMPUTE_HEADERS = ("samples", "certainty", "stop-reason", "overhead-ms")
BUDGET_HEADER = r"^(off|low|medium|high|max|auto|[1-9][0-9]{0,4}|samples=[1-9][0-9]{0,4}(;certainty=0\.[1-9])?)$"
"""Not the whole grammar (budgets.parse_text), but what is worth generating."""

Schema = dict[str, Any]

COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
SECONDS: Mapping[str, Any] = {"type": "number", "minimum": 0}
TEXT: Mapping[str, Any] = {"type": "string"}


def record(properties: Mapping[str, Any], *optional: str) -> Schema:
    """An object with these properties, all there but the optional ones; the engine may add its own."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": dict(properties)}


def listing(items: Mapping[str, Any]) -> Schema:
    """An array of these."""
    return {"type": "array", "items": dict(items)}


def nullable(schema: Mapping[str, Any]) -> Schema:
    """The same, or null."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body has this schema, and whose budget may come in a header."""
    schema = {"$ref": TEMPLATE.format(model=model.__name__)}
    budget = {"name": "X-Compute-Budget", "in": "header", "schema": {"type": "string", "pattern": BUDGET_HEADER}}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"parameters": [budget], "requestBody": body}


def json_answer(schema: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with this."""
    return {200: {"description": "The answer.", "content": {"application/json": {"schema": dict(schema)}}}}


def chat_answers() -> dict[int | str, dict[str, Any]]:
    """`responses` of the chat route: a whole completion, or the events of one."""
    answers = json_answer(completion_schema())
    answers[200]["content"]["text/event-stream"] = {}
    answers[200]["headers"] = {
        name: {"schema": dict(TEXT), "required": name == "x-request-id"}
        for name in ("x-request-id", *(f"x-compute-{part}" for part in COMPUTE_HEADERS))
    }
    return answers


def completion_schema() -> Schema:
    """OpenAI's `chat.completion`, with our account of it unless the budget was `off`."""
    choice = record({"index": COUNT, "message": record({"role": TEXT}), "finish_reason": TEXT})
    properties = {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": COUNT,
        "model": TEXT,
        "choices": {**listing(choice), "minItems": 1},
        "usage": record(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), COUNT)),
        "compute": compute_schema(),
    }
    return record(properties, "usage", "compute")


def compute_schema() -> Schema:
    """The `compute` object; docs/api.md says what each field means."""
    fates = ("planned", "started", "finished", "truncated", "aborted", "failed")
    tokens = ("selected", "discarded", "aborted", "saved_estimate")
    properties = {
        "strategy": TEXT,
        "samples": record(dict.fromkeys(fates, COUNT)),
        "stop_reason": {"enum": [reason.value for reason in StopReason]},
        "certainty": nullable({"type": "number", "minimum": 0, "maximum": 1}),
        "calibrated": {"type": "boolean"},
        "profile": TEXT,
        "settled": nullable({"type": "number", "minimum": 0, "maximum": 1}),
        "distribution": listing(record({"answer": TEXT, "votes": COUNT})),
        "escalated": {"type": "boolean"},
        "budget": budget_schema(),
        "clamped": listing(TEXT),
        "seconds": SECONDS,
        "overhead_ms": SECONDS,
        "tokens": record(dict.fromkeys(tokens, COUNT)),
        "candidates": listing({"type": "object"}),
        "trace": listing({"type": "object"}),
    }
    return record(properties, "candidates", "trace")


def budget_schema() -> Schema:
    """What was in force; the last four where they were set."""
    always = {"source": TEXT, "max_samples": COUNT, "max_seconds": SECONDS}
    set_ones = {"min_samples": COUNT, "max_tokens": COUNT, "certainty": SECONDS, "abstain": {"type": "boolean"}}
    return record({**always, **set_ones}, *set_ones)


def error_responses() -> dict[int | str, dict[str, Any]]:
    """Every error status a route may answer with, all in OpenAI's envelope."""
    named = {"x-request-id": {"schema": dict(TEXT), "required": True}}
    code = {"type": ["string", "integer", "null"]}
    schema = record({"error": record({"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": code})})
    return {
        status: {"description": text, "headers": named, "content": {"application/json": {"schema": schema}}}
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
