"""Scores of single examples: a table by example id that knows its data set and how each column was made.

What one measure says of an example (its stability, a loss, logits, whether a probe is right) is compared
with what another says of the same example; so scores are joined by id, never by their place in an array,
and only if they are scores of one data set. A file of scores is text (one header line, then comma-separated
values) and is written whole or not at all; its digest is what the record of a run keeps of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from memorization.checks import check_tensor

_FORMAT = "# memorization example scores 1 "  # followed by what is known of the columns, as JSON


@dataclass(frozen=True)
class ExampleScores:
    """Scores of N examples of one data set.

    Attributes:
        dataset: digest of the data set.
        ids: the examples, shape (N,), int64, each once.
        columns: scores by name, each of shape (N,) or (N, C); any real type.
        made: how each column was made (experiment, arguments, seed, ...), by its name: what JSON can hold.

    Raises:
        TypeError: for what is no tensor, or ids that are not int64.
        ValueError: for no example or one twice, a column of another length, a name that is no word, or a
            column of which it is not said how it was made.
    """

    dataset: str
    ids: Tensor
    columns: Mapping[str, Tensor]
    made: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse what cannot be joined by id."""
        check_tensor("ids", self.ids)
        if self.ids.dtype != torch.int64 or self.ids.ndim != 1:
            raise TypeError(
                f"ids are {self.ids.dtype} of shape {tuple(self.ids.shape)}; allowed: int64, (N,)"
            )
        if len(self.ids) == 0:
            raise ValueError("scores of no example; give at least one")
        values, counts = self.ids.unique(return_counts=True)
        if bool((counts > 1).any()):
            raise ValueError(f"example {int(values[counts > 1][0])} is there twice; give each example once")
        if set(self.columns) != set(self.made):
            raise ValueError(
                f"columns are {sorted(self.columns)}, made tells of {sorted(self.made)}; say of each column "
                "how it was made"
            )
        json.dumps(dict(self.made))  # a TypeError says now what a file could not hold
        for name, column in self.columns.items():
            check_tensor(name, column)
            if not name.isidentifier() or name == "id":
                raise ValueError(
                    f"a column is named {name!r}; allowed: a word such as self_influence, not id"
                )
            if column.ndim not in (1, 2) or len(column) != len(self.ids) or column.is_complex():
                raise ValueError(
                    f"{name} has shape {tuple(column.shape)} ({column.dtype}) for {len(self.ids)} examples; "
                    "allowed: real numbers, one row for each example"
                )

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, ids: Tensor) -> ExampleScores:
        """Return the scores of some examples, in the order that is asked for.

        Args:
            ids: shape (B,), int64, each once.

        Raises:
            KeyError: naming the first example that has no scores.
        """
        check_tensor("ids", ids)
        wanted, (own, order) = ids.to(self.ids.device), self.ids.sort()
        places = torch.searchsorted(own, wanted).clamp(max=len(own) - 1)
        absent = wanted[own[places] != wanted]
        if len(absent):
            raise KeyError(f"example {int(absent[0])} has no scores ({len(absent)} of {len(ids)} have none)")
        columns = {name: column[order[places].to(column.device)] for name, column in self.columns.items()}
        return ExampleScores(self.dataset, wanted, columns, self.made)

    def join(self, other: ExampleScores) -> ExampleScores:
        """Put the other's columns beside these, by id; the other must have every example of these.

        Raises:
            ValueError: for scores of another data set, or a column that both have.
            KeyError: naming the first example that the other has no scores of.
        """
        if self.dataset != other.dataset:
            raise ValueError(f"scores of two data sets are not joined: {self.dataset} and {other.dataset}")
        if both := sorted(set(self.columns) & set(other.columns)):
            raise ValueError(f"both have the columns {both}; rename them in one")
        there = other.at(self.ids).columns
        return ExampleScores(self.dataset, self.ids, {**self.columns, **there}, {**self.made, **other.made})

    @property
    def digest(self) -> str:
        """Short checksum of everything, the same for the file that :meth:`save` writes."""
        return _checksum(self._text())

    def save(self, path: str | Path) -> str:
        """Write a file, complete or not at all, and return its digest.

        Raises:
            OSError: naming the file, if it cannot be written; what was there before stays.
        """
        path = Path(path)
        half, text = path.with_name(f".{path.name}.part"), self._text()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_text(text, encoding="utf-8")
            os.replace(half, path)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise OSError(error.errno, f"scores were not written ({error.strerror})", str(path)) from error
        return _checksum(text)

    def _text(self) -> str:
        known = {
            name: {
                "type": str(column.dtype).removeprefix("torch."),
                "classes": column.shape[1] if column.ndim == 2 else None,
                "made": self.made[name],
            }
            for name, column in self.columns.items()
        }
        frame = {"id": self.ids.tolist()}
        for name, column in self.columns.items():
            # in Python's numbers, whose text is the shortest that reads as the same bits
            values = column.double() if column.is_floating_point() else column
            values = values.reshape(len(self), -1)
            frame |= {
                label: part.tolist() for label, part in zip(_labels(name, known[name]), values.T, strict=True)
            }
        table = pd.DataFrame(frame).to_csv(index=False, na_rep="nan", lineterminator="\n")
        header = {"dataset": self.dataset, "columns": known, "table": _checksum(table)}
        return f"{_FORMAT}{json.dumps(header, sort_keys=True)}\n{table}"


def read_scores(path: str | Path, digest: str | None = None) -> ExampleScores:
    """Read a file of scores.

    Args:
        path: the file that :meth:`ExampleScores.save` wrote.
        digest: what a record keeps of it; None takes any.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no file of scores, is damaged, or has another digest.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no file of example scores: it is no text ({error})") from error
    first, _, rest = text.partition("\n")
    if not first.startswith(_FORMAT):
        raise ValueError(
            f"{path} is no file of example scores that this code reads; it begins {first[:40]!r}"
        )
    try:
        header = json.loads(first.removeprefix(_FORMAT))
        if _checksum(rest) != header["table"]:
            raise ValueError("its checksum does not fit")
        table = pd.read_csv(io.StringIO(rest), dtype=str, keep_default_na=False)
        columns = {name: _column(table, name, known) for name, known in header["columns"].items()}
        made = {name: known["made"] for name, known in header["columns"].items()}
        scores = ExampleScores(
            header["dataset"], torch.tensor(table["id"].astype(int).to_numpy()), columns, made
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); write it anew") from error
    if digest is not None and _checksum(text) != digest:
        raise ValueError(
            f"{path} has the digest {_checksum(text)}, the record {digest}: it holds other scores"
        )
    return scores


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _labels(name: str, known: Mapping[str, Any]) -> list[str]:
    classes = known["classes"]
    return [name] if classes is None else [f"{name}[{c}]" for c in range(classes)]


def _column(table: pd.DataFrame, name: str, known: Mapping[str, Any]) -> Tensor:
    kind, written = getattr(torch, known["type"]), table[_labels(name, known)].to_numpy(dtype=str)
    values = (
        written == "True" if kind == torch.bool else written.astype(float if kind.is_floating_point else int)
    )
    rows = torch.tensor(values).to(kind)
    return rows if known["classes"] is not None else rows[:, 0]
