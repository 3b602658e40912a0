"""How the process logs: one line format on standard error, times in UTC, no line per request."""

import logging
import time
from collections.abc import Mapping

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S"
LONGEST = 2000
CONTROLS: Mapping[int, str] = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
LEVELS = ("debug", "info", "warning", "error")


class UtcFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING quorate.monitor: backend vllm is down`."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, TIME)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """One line, whatever an upstream or a client put into it: what it quotes cannot look like another record."""
        told = record.message.translate(CONTROLS)
        record.message = told if len(told) <= LONGEST else told[:LONGEST] + "..."
        return super().formatMessage(record)


def configure(level: str) -> None:
    """Send what is at least this important to standard error. To be called once, by who owns the process.

    What libraries say below a warning shows at `debug` only: uvicorn tells each of its steps as news.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(UtcFormatter())
    ours = logging.getLevelNamesMapping()[level.upper()]
    others = ours if ours == logging.DEBUG else max(ours, logging.WARNING)
    logging.basicConfig(handlers=[handler], level=others)
    logging.getLogger("quorate").setLevel(ours)
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """uvicorn takes a client that left, and whose answer was given up, for an error of the application."""
    return "without completing response" not in record.getMessage()
