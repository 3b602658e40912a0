"""The document and docs/api.md say the same, and all of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from core.types import StopReason
from server.schemas import BudgetObject

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def rows(heading: str) -> list[str]:
    """First cells, in code quotes, of the table of docs/api.md under this row of headings."""
    table = PAGE.read_text(encoding="utf-8").partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)


def test_every_key_has_its_row() -> None:
    """The table of keys lists those of a budget, in their order."""
    assert rows("| key | type | meaning |") == list(BudgetObject.model_fields)


def test_every_stop_reason_has_its_row() -> None:
    """Whatever `stop_reason` can say is explained."""
    assert sorted(rows("| `stop_reason` | sampling stopped because |")) == sorted(reason.value for reason in StopReason)


def test_errors_are_documented_with_their_id(
    gateway: Callable[..., httpx.Client], scripted: Callable[..., Any]
) -> None:
    """Each route documents both kinds of error, in the envelope, with the header that names them."""
    document = gateway(scripted("4")).get("/openapi.json").json()
    for route in document["paths"].values():
        for operation in route.values():
            for kind in ("4XX", "5XX"):
                answer = operation["responses"][kind]
                assert answer["headers"]["x-request-id"]["required"]
                assert "error" in answer["content"]["application/json"]["schema"]["properties"]
