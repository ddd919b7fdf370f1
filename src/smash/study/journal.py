"""Reading the journal of a study line by line, for the ranking.

Optuna makes a trial of each line, with its distributions, dates and checks, and that takes most of
the time of reading. What this program writes needs none of it: one study, its attributes, and a
finished trial a line. Where a journal holds anything else, it is left to Optuna.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CREATE_STUDY, _SET_ATTRIBUTE, _CREATE_TRIAL = 0, 2, 4  # op codes of Optuna's journal
_FLOAT = '{"name": "FloatDistribution"'


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ranking needs of a trial, named as in Optuna's."""

    user_attrs: Mapping[str, Any]
    intermediate_values: Mapping[int, float]
    params: Mapping[str, float]


class Journal:
    """A journal that is read, and read on as it grows.

    Args:
        path: The file.
        name: Name of the study in it.

    Attributes:
        attributes: Of the study.
        entries: Its trials, in order.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._offset = 0  # of the first byte that is not read yet
        self.attributes: dict[str, Any] = {}
        self.entries: list[Entry] = []

    def read_on(self) -> bool:
        """Reads what was added; a last line that is not written to its end is passed over.

        Returns:
            Whether all of it is as this program writes it; else it has to be left to Optuna.
        """
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    self._take(json.loads(line))
                except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                    return False
                self._offset += len(line)
        return self._offset > 0

    def _take(self, line: Mapping[str, Any]) -> None:
        if not self._offset:
            if (line["op_code"], line["study_name"]) != (_CREATE_STUDY, self._name):
                raise ValueError("it begins with another study")
        elif line["study_id"] != 0:
            raise ValueError("it holds another study")
        elif line["op_code"] == _SET_ATTRIBUTE:
            self.attributes.update(line["user_attr"])
        elif line["op_code"] == _CREATE_TRIAL:
            distributions = line["distributions"]
            if not all(distributions[name].startswith(_FLOAT) for name in line["params"]):
                raise ValueError("a parameter may stand for another value")
            trace = {int(step): value for step, value in line["intermediate_values"].items()}
            self.entries.append(Entry(line["user_attrs"], trace, line["params"]))
        else:
            raise ValueError("it was changed by another program")
