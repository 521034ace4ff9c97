"""The page's claims: which there are, and that they speak of arms and numbers that are made."""

import re
from pathlib import Path

import pytest

from memorization.report.claims import read_claims
from memorization.studies.random_label_heads.arms import arm

PATH = Path(__file__).resolve().parents[3] / "notebooks" / "claims" / "random_label_heads.yaml"
CLAIMS = {claim.id: claim for claim in read_claims(PATH)}
TABLES = {"heads", "chance", "shared", "depth", "little", "served", "convolutions", "images", "image_chance"}


def test_every_claim_of_the_ledger_is_there():
    ledger = {f"RL-{k}" for k in (1, 2, 5, 6, 7, 8, *range(11, 19))}
    ledger |= {"RL-3a", "RL-3b", "RL-3c", "RL-4a", "RL-4b", "RL-9a", "RL-9b", "RL-9c"}
    assert ledger <= set(CLAIMS)


@pytest.mark.parametrize(
    "claim",
    [one for one in CLAIMS.values() if one.id not in ("RL-10a", "RL-10b", "RL-10c", "RL-19", "RL-20")],
    ids=lambda one: one.id,
)
def test_checks_speak_of_arms_that_are_made(claim):
    for check in claim.checks:
        assert check.records in TABLES | {"probes"}
        groups = [group[0] for group in check.sequence] if check.by == ("arm",) else []
        told = re.findall(r"arm (?:==|in) (\[.*?\]|'[^']*')", check.where)
        groups += [name for part in told for name in re.findall("'([^']*)'", part)]
        for name in groups:
            arm(name)  # which refuses what it cannot read


def test_what_does_not_hold_says_what_was_tried():
    assert all(CLAIMS[name].tried for name in ("RL-14", "RL-15", "RL-11", "RL-15b"))


def test_no_number_is_said_to_be_the_papers_but_the_absence_of_a_gain():
    theirs = {claim.id for claim in CLAIMS.values() for check in claim.checks if check.origin == "paper"}
    assert theirs <= {"RL-7"}
