"""How the process logs: one line format on standard error, times in UTC, no line per request."""

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
TIME = "%Y-%m-%dT%H:%M:%S"
LEVELS = ("debug", "info", "warning", "error")


class UtcFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING quorate.gateway: backend vllm is down`."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, TIME)


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
