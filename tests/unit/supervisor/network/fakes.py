"""Programs that say what a test wrote, and remember what they were told."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.network.commands import Result


class Programs:
    """Stands for commands.run. answers: by the beginning of a command line; the longest that fits counts."""

    def __init__(self, answers: Mapping[str, Result]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def __call__(self, words: tuple[str, ...], text: str) -> Result:
        line = " ".join(words)
        self.asked.append((line, text))
        found = [start for start in self.answers if line.startswith(start)]
        return self.answers[max(found, key=len)] if found else Result(0)
