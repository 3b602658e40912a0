"""Block of the card on the recordings that figures come from."""

from reasoner.card.sources import Recording, Sources
from reasoner.card.tables import table
from reasoner.sets import BINS, STANDARD


def recordings(sources: Sources) -> str:
    """A row per trace."""
    if not sources.recordings:
        return "No traces yet in `reasoner/traces`."
    header = ("file", "model", "split", "temperature", "questions", "samples of each", "with")
    return table(header, (_recorded(each) for each in sources.recordings))


def _recorded(recording: Recording) -> tuple[object, ...]:
    count = f"{len(recording.lines):,}"
    name = f"`{recording.path.name}`"
    return (name, recording.model, recording.split, f"{recording.temperature:g}", count, recording.samples,
            ", ".join(_extras(recording)) or "answers")  # fmt: skip


def _extras(recording: Recording) -> list[str]:
    entries = [sample for line in recording.lines for sample in line["samples"]]
    found = [name for name in ("confidence", "steps") if any(name in entry for entry in entries)]
    probed = max((sum("probes" in sample for sample in line["samples"]) for line in recording.lines), default=0)
    return found + ([f"forced answers of {probed}"] if probed else [])


def standard(_: Sources) -> str:
    """How many questions of each bin are reported on."""
    rows = []
    for task, bins in BINS.items():
        if known := [f"{bin_}: {STANDARD[bin_]}" for bin_ in bins if bin_ in STANDARD]:
            rows.append((task, ", ".join(known), sum(STANDARD.get(bin_, 0) for bin_ in bins)))
    return table(("family", "questions of each bin", "together"), rows)
