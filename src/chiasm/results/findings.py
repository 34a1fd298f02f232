"""What a finding is: every number in its sentence stands in a table of the run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or two. `strength` orders findings: 0 says nothing was found, more is more."""

    text: str
    strength: float
