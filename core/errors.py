"""The whole error tree. Each class knows the HTTP status and the OpenAI error type it becomes.

QuorateError                     500 server_error
├── InvalidRequest               400 invalid_request_error   (names the field in `param`)
│   ├── BodyTooLarge             413
│   ├── InvalidKey               401 (code invalid_api_key)
│   └── UnknownModel             404 (code model_not_found)
├── Overloaded                   429 rate_limit_error        (carries retry_after seconds)
├── BackendError                 502 upstream_error          (one request failed; others may survive)
│   ├── BackendUnavailable       503   cannot be reached, or refuses because it is full
│   ├── BackendTimeout           504   no byte within the limit
│   ├── BackendBroken            502   bytes that are not what the wire promises, or a cut stream
│   └── BackendRejected          as upstream: the request itself was refused (4xx), the same for every sample
├── NoAnswer                     502   every sample failed (carries the first cause)
└── DeadlineExceeded             504   the deadline passed before anything could be answered
"""

from collections.abc import Mapping
from typing import Any


class QuorateError(Exception):
    """Root of the tree. `param` names the offending field, `code` is OpenAI's machine-readable code."""

    status: int = 500
    type: str = "server_error"
    code: str | int | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def envelope(self) -> dict[str, Any]:
        """OpenAI's error body: `{"error": {"message", "type", "param", "code"}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(QuorateError):
    """The client sent something that cannot be served; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class BodyTooLarge(InvalidRequest):
    """The request body is over the configured limit."""

    status = 413
    code = "body_too_large"


class InvalidKey(InvalidRequest):
    """Only clients with a key are served, and this one sent none, or one that is not known."""

    status = 401
    code = "invalid_api_key"


class UnknownModel(InvalidRequest):
    """No model is served under this name."""

    status = 404
    code = "model_not_found"


class Overloaded(QuorateError):
    """The queue is full; try again after `retry_after` seconds."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendError(QuorateError):
    """One upstream request failed. A program survives it while other samples do."""

    status = 502
    type = "upstream_error"
    code: str | int | None = "backend_error"


class BackendUnavailable(BackendError):
    """The backend cannot be reached, or says that it is full (connection refused, 429, 503).

    `full`: it answered, and only has no room.
    """

    status = 503
    code = "backend_unavailable"

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class BackendTimeout(BackendError):
    """The backend sent no byte within the limit."""

    status = 504
    code = "backend_timeout"


class BackendBroken(BackendError):
    """The backend sent bytes that are not what the wire promises, an error inside a stream, or a cut stream."""

    code = "backend_broken"


class BackendRejected(BackendError):
    """The backend refused the request itself (4xx): every sample would be refused alike.

    Status and body are the upstream's own, so that the client reads what the engine would have said.
    """

    type = "invalid_request_error"

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message") or f"The backend refused the request ({status})."))
        self.status = status
        self.type = str(error.get("type") or "invalid_request_error")
        param, code = error.get("param"), error.get("code")
        self.param = param if isinstance(param, str) else None
        self.code = code if isinstance(code, str | int) else None


class NoAnswer(QuorateError):
    """Every sample of the program failed. `cause` is the first failure; its status becomes ours."""

    type = "upstream_error"
    code = "no_answer"

    def __init__(self, message: str, *, cause: QuorateError | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = cause.status if cause is not None else 502


class DeadlineExceeded(QuorateError):
    """The deadline passed before any sample had finished."""

    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"
