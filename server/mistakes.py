"""What pydantic found wrong, in a size that can be told: neither the inputs nor endless names are repeated."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

NAME_CHARACTERS = 100


def mistakes(error: ValidationError) -> list[ErrorDetails]:
    """The list of what is wrong, without the values that were given."""
    return error.errors(include_url=False, include_input=False, include_context=False)


def shortened(name: str) -> str:
    """A name that the client chose, cut where nobody reads on."""
    return name if len(name) <= NAME_CHARACTERS else name[:NAME_CHARACTERS] + "..."
