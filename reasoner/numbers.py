"""Numbers as English words."""

UNITS = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen".split()
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MOST = 99


def spelled(number: int) -> str:
    """A whole number from 0 to 99 in words: `twenty-five`. ValueError for others."""
    if not 0 <= number <= MOST:
        raise ValueError(f"number must be between 0 and {MOST}, not {number}")
    if number < len(UNITS):
        return UNITS[number]
    tens, rest = divmod(number, 10)
    return f"{TENS[tens]}-{UNITS[rest]}" if rest else TENS[tens]
