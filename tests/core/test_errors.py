"""The error tree: statuses, types and OpenAI's envelope."""

import pytest

from core import errors


def tree(root):
    """A class and everything below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.QuorateError("x"), 500, "server_error", None),
        (errors.InvalidRequest("x", param="n"), 400, "invalid_request_error", None),
        (errors.BodyTooLarge("x"), 413, "invalid_request_error", "body_too_large"),
        (errors.UnknownModel("x"), 404, "invalid_request_error", "model_not_found"),
        (errors.Overloaded("x", retry_after=3), 429, "rate_limit_error", "overloaded"),
        (errors.BackendError("x"), 502, "upstream_error", "backend_error"),
        (errors.BackendUnavailable("x"), 503, "upstream_error", "backend_unavailable"),
        (errors.BackendTimeout("x"), 504, "upstream_error", "backend_timeout"),
        (errors.BackendBroken("x"), 502, "upstream_error", "backend_broken"),
        (errors.NoAnswer("x"), 502, "upstream_error", "no_answer"),
        (errors.DeadlineExceeded("x"), 504, "timeout_error", "deadline_exceeded"),
    ],
)
def test_each_error_knows_what_it_becomes(error, status, kind, code):
    """Status, OpenAI type and machine-readable code belong to the class."""
    assert (error.status, error.type, error.code) == (status, kind, code)
    assert error.envelope()["error"] == {"message": "x", "type": kind, "param": error.param, "code": code}


def test_a_rejection_is_the_upstream_s_own():
    """The engine's status, type, field and code are passed on; what it left out is filled in."""
    whole = errors.BackendRejected(422, {"message": "m", "type": "BadRequestError", "param": "p", "code": 422})
    assert (whole.status, whole.envelope()["error"]) == (
        422,
        {"message": "m", "type": "BadRequestError", "param": "p", "code": 422},
    )
    bare = errors.BackendRejected(400, {})
    assert bare.envelope()["error"] == {
        "message": "The backend refused the request (400).",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(("cause", "status"), [(None, 502), (errors.BackendTimeout("slow"), 504)])
def test_losing_every_sample_takes_the_status_of_its_cause(cause, status):
    """The client reads the status of the first failure."""
    assert errors.NoAnswer("x", cause=cause).status == status


def test_every_error_is_documented_in_the_tree():
    """The drawing in the module names every class."""
    missing = [kind.__name__ for kind in tree(errors.QuorateError) if kind.__name__ not in errors.__doc__]
    assert missing == []
