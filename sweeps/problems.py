"""What is wrong with a study file, collected so that one reading names everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Problems:
    """Sentences that begin with a key path; a hint follows its sentence after a blank line."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        if problem not in self.found:
            self.found.append(problem)

    @contextmanager
    def collect(self, prefix: str = "") -> Iterator[None]:
        """A ValueError inside ends the block and becomes a problem, after `prefix`: `pairs[0].teacher: `."""
        try:
            yield
        except ValueError as error:
            self.add(f"{prefix}{error}")

    def raise_any(self) -> None:
        """Raises ValueError with all sentences, then all hints, if there are any."""
        if not self.found:
            return
        sentences, hints = [], []
        for problem in self.found:
            sentence, _, hint = problem.partition("\n\nhint: ")
            sentences.append(f"{self.source}: {sentence}")
            if hint and hint not in hints:
                hints.append(hint)
        lines = [*sentences, *([""] if hints else []), *(f"hint: {hint}" for hint in hints)]
        raise ValueError("\n".join(lines))
