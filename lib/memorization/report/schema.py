"""What a row of verdicts consists of: its keys, their types and meanings, as JSON Schema.

``results/verdicts/NAME.PROFILE.json`` and the scoreboard's JSON are lists of such rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from memorization.report.claims import ORIGINS
from memorization.report.judging import FAILS, HOLDS, OPEN, UNMADE, VERDICTS
from memorization.runs.parameters import PROFILES

Row = Mapping[str, Any]
Keys = Mapping[str, tuple[Mapping[str, Any], str]]

_TEXT, _TRUTH, _COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
_NUMBER = {"type": ["number", "null"]}
_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_REPLICATION = {
    "type": ["object", "null"],
    "properties": {"sets": _COUNT, "agree": _COUNT},
    "required": ["sets", "agree"],
    "additionalProperties": False,
}
_OUTCOMES = [HOLDS, FAILS, OPEN, UNMADE]

# What a check found; a row repeats it of its primary check.
_FOUND: Keys = MappingProxyType(
    {
        "test": (_TEXT, "at_most, at_least, between, equals or positive; empty where nothing is claimed"),
        "value": (_NUMBER, "mean over seeds; of an identity, the worst seed's"),
        "low": (_NUMBER, "lower end of the value's 95 % interval; of an identity, the smallest value"),
        "high": (_NUMBER, "upper end of that interval"),
        "expected": ({"oneOf": [_NUMBER, _PAIR]}, "the bound, [low, high] for between"),
        "gap_low": (_NUMBER, "lower end of the 95 % interval of value - expected (between: of value)"),
        "gap_high": (_NUMBER, "upper end of that interval"),
        "tolerance": (_NUMBER, "allowed deviation from the bound"),
        "tolerance_origin": (_TEXT, "where bound and tolerance come from"),
        "seeds": (_COUNT, "how many seeds were looked at"),
        "seeds_to_decide": ({"type": ["integer", "null"]}, "how many would decide it, where it is undecided"),
    }
)
CHECK: Keys = MappingProxyType(
    {
        "what": (_TEXT, "the quantity"),
        **_FOUND,
        "place": (_TEXT, "of several places, the one that the numbers are of"),
        "origin": ({"enum": list(ORIGINS)}, "what kind of source the bound has"),
        "primary": (_TRUTH, "whether the claim rests on it first; true for one"),
        "identity": (_TRUTH, "whether it holds by construction"),
        "outcome": ({"enum": _OUTCOMES}, "what the interval says"),
        "holds": ({"type": ["boolean", "null"]}, "the same, null where it is neither"),
        "note": (_TEXT, "what else to know"),
    }
)
ROW: Keys = MappingProxyType(
    {
        "id": (_TEXT, "of the claim"),
        "paper": (_TEXT, "key in the bibliography"),
        "place": (_TEXT, "figure, table or theorem of the paper"),
        "statement": (_TEXT, "the claim in one sentence"),
        "quantity": (_TEXT, "what the primary check looks at; this and the next ten are that check's"),
        **_FOUND,
        "verdict": ({"enum": list(VERDICTS)}, "what follows from the checks"),
        "tally": (
            {"enum": ["paper", "ours"]},
            "ours: only bounds of ours decide, or the paper does not ask",
        ),
        "identity": (_TRUTH, "whether all that decided holds by construction"),
        "digest": (_TEXT, "of the checks: equal where two verdicts come from equal ones"),
        "null": ({"enum": [*VERDICTS, None]}, "the verdict on records in which the effect is absent"),
        "replication": (_REPLICATION, "of how many disjoint sets of seeds how many gave this verdict"),
        "dataset": (_TEXT, "names of the data"),
        "device": (_TEXT, "what computed the records"),
        "date": (_TEXT, "of the newest record"),
        "code_version": (_TEXT, "of the functions that made the records"),
        "profile": ({"enum": list(PROFILES)}, "the scale"),
        "notebook": (_TEXT, "the page that judged it"),
        "checks": ({"type": "array"}, "every check, with what it found"),
        "note": (_TEXT, "what else to know"),
    }
)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a list of rows; ``source`` is in the scoreboard's rows only."""
    row = _object(
        ROW, {"source": {"enum": ["this build", "published"], "description": "which build judged it"}}
    )
    row["properties"]["checks"]["items"] = _object(CHECK)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Verdicts on the claims of papers on memorization, with what they rest on",
        "type": "array",
        "items": row,
    }


def _object(keys: Keys, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    properties = {key: {**kind, "description": words} for key, (kind, words) in keys.items()}
    return {
        "type": "object",
        "properties": {**properties, **more},
        "required": list(keys),
        "additionalProperties": False,
    }


def missing_key(row: Row) -> str | None:
    """Name the first key that a row, or one of its checks, lacks; None where all are there."""
    if lacking := [key for key in ROW if key not in row]:
        return lacking[0]
    return next((key for check in row["checks"] for key in CHECK if key not in check), None)
