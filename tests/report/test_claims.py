import pytest

from memorization.report.claims import ClaimError, read_claims

CHECK = {"test": "at_most", "bound": 1}


def test_a_claim_is_read_with_its_checks(claims_of):
    (claim,) = claims_of({**CHECK, "each": "N"}, {"test": "positive", "profiles": ["paper"]})
    assert (claim.id, claim.profiles, claim.null_records) == ("T-1", ("book",), ("untrained", ()))
    first, second = claim.checks
    assert (first.each, first.bound, first.profiles) == (("N",), 1.0, ("book",))
    assert second.profiles == ("paper",)


def test_origin_and_source_of_a_bound_are_taken_from_the_claim_where_a_check_has_none(claims_of):
    first, second = claims_of(CHECK, {"test": "positive", "origin": "direction"})[0].checks
    assert (first.origin, first.tolerance_origin) == ("paper", "made for the test")
    assert (second.origin, second.tolerance_origin) == ("direction", "made for the test")


def test_the_paper_decides_where_it_says_something_and_identities_where_nothing_could_fail(claims_of):
    ours = {**CHECK, "origin": "pilot", "pilot_seeds": 5}
    certain = {**CHECK, "identity": True}
    (claim,) = claims_of(ours, certain, CHECK, {**CHECK, "profiles": ["paper"]}, CHECK)
    assert [claim.checks.index(check) for check in claim.deciding("book")] == [2, 2]  # the equal ones
    assert claims_of(ours)[0].deciding("book")[0].origin == "pilot"
    assert claims_of(ours, certain, null_records=None)[0].deciding("book")[0].identity


def test_seeds_of_a_pilot_are_those_of_the_claim_and_of_its_pilot_checks_only(claims_of):
    first, second = claims_of(CHECK, {**CHECK, "origin": "pilot"}, pilot_seeds=7)[0].checks
    assert (first.pilot_seeds, second.pilot_seeds) == (0, 7)


def test_a_claim_knows_its_lines(tmp_path, claims_of):
    claims_of(CHECK)
    path = tmp_path / "claims.yaml"
    one = path.read_text()
    length = len(one.splitlines())
    path.write_text(f"# words\n{one}\n# more words\n\n{one.replace('T-1', 'T-2')}\n\n")
    assert [claim.lines for claim in read_claims(path)] == [(2, 1 + length), (5 + length, 4 + 2 * length)]


def test_what_is_not_claimed_says_why_and_nothing_else(tmp_path):
    path = tmp_path / "claims.yaml"
    entry = "- {id: T-1, paper: p, place: Fig. 1, statement: It flies., not_claimed: Nobody saw it."
    path.write_text(entry + "}")
    (claim,) = read_claims(path)
    assert (claim.not_claimed, claim.checks, claim.deciding("book")) == ("Nobody saw it.", (), [])
    path.write_text(entry + ", profiles: [book]}")
    with pytest.raises(ClaimError, match="'not_claimed' says why in words, and leaves no profiles"):
        read_claims(path)


@pytest.mark.parametrize(
    ("null", "message"),
    [
        (None, "every claim needs it"),
        ("untraned", "unknown null_records 'untraned'; did you mean 'untrained'"),
        ({"untrained": ["N"]}, "'null_records' is `untrained` or one of"),
        ("permuted", "'null_records' is `untrained` or one of"),
        ({"permuted": ["N"], "records": {}}, "'null_records' is `untrained` or one of"),
        ({"permuted": 5}, "permuted: give a list of column names"),
        ({"records": ["other"]}, "give the other table of each"),
        ([], "'null_records' is `untrained` or one of"),
    ],
)
def test_a_claim_without_a_null_is_refused(claims_of, null, message):
    with pytest.raises(ClaimError, match=message):
        claims_of(CHECK, null_records=null)


def test_identities_need_no_null_and_may_have_none(claims_of):
    assert claims_of({**CHECK, "identity": True})[0].null_records is None
    with pytest.raises(ClaimError, match="except where identities decide"):
        claims_of({**CHECK, "identity": True}, null_records="untrained")


def test_a_profile_at_which_no_check_can_be_made_is_refused(claims_of):
    with pytest.raises(ClaimError, match="no check can be made at profile 'paper'; leave the profile out"):
        claims_of({**CHECK, "profiles": ["book"]}, profiles=["book", "paper"])


def test_a_small_number_that_yaml_reads_as_text_is_a_number(claims_of):
    (claim,) = claims_of({"test": "at_most", "bound": "1e-10"})
    assert claim.checks[0].bound == 1e-10


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"test": "at_mots", "bound": 1}, "unknown test 'at_mots'; did you mean 'at_most'"),
        (
            {**CHECK, "reduce": "xyz"},
            "unknown reduce 'xyz'; choose one of mean, max, min, range, slope, intercept",
        ),
        ({**CHECK, "origin": "papre"}, "unknown origin 'papre'; did you mean 'paper'"),
        ({**CHECK, "origin": "direction"}, "the bound of a direction is zero: give test 'positive'"),
        ({**CHECK, "origin": "pilot"}, "pilot_seeds: 0; a check of origin pilot says how many"),
        ({**CHECK, "pilot_seeds": 5}, "pilot_seeds: 5; .* no other check does"),
        ({**CHECK, "origin": "pilot", "pilot_seeds": True}, "pilot_seeds: True"),
        ({**CHECK, "identity": "yes"}, "identity: give true or false, got 'yes'"),
        ({**CHECK, "wheer": "N > 1"}, "unknown key 'wheer'; did you mean 'where'"),
        ({**CHECK, "profiles": ["boko"]}, "unknown profile 'boko'; did you mean 'book'"),
        ({**CHECK, "profiles": "book"}, r"'profiles' is a list such as \[book, desktop\], got 'book'"),
        ({"test": "at_most"}, "test 'at_most' with reduce 'mean' needs 'bound'"),
        ({"test": "equals", "bound": 1}, "does not use 'bound'"),
        ({"test": "between", "bound": 1}, r"'bound' is \[low, high\] for 'between'"),
        ({"test": "at_most", "bound": [0, 1]}, r"'bound' is \[low, high\] for 'between'"),
        ({**CHECK, "reduce": "slope"}, "needs 'against'"),
        ({**CHECK, "where": "N.max() > 1"}, r"where: 'N.max\(\) > 1' holds a call"),
        ({**CHECK, "value": "__import__('os')", "profiles": ["paper"]}, "value: .* holds a call"),
        ({"test": "at_most", "bound": "N[0]"}, "bound: .* holds Subscript"),
        ({"test": "equals", "expected": "@N"}, "expected: '@N' is no expression"),
        ({**CHECK, "where": 5}, "where: give a text, got 5"),
        ({"test": "at_most", "bound": float("nan")}, "bound: give a number"),
        ({"test": "between", "bound": [0, float("inf")]}, "bound: give a number"),
        (
            {"test": "positive", "by": "kind", "sequence": "high"},
            "'sequence' is a list of groups, got 'high'",
        ),
        ({"test": "positive", "by": "kind", "sequence": ["high"]}, "'sequence' lists two or more groups"),
        ({"test": "positive", "sequence": ["high", "low"]}, "does not use 'sequence'"),
        (
            {"test": "positive", "by": ["kind", "N"], "sequence": ["a", "b"]},
            "each with one value per column of 'by'",
        ),
        ({**CHECK, "each": True}, "each: give a list of column names"),
        ({**CHECK, "tolerance": None}, "give a number, an expression over columns"),
        ({**CHECK, "tolerance_origin": " "}, "say in 'tolerance_origin' where bound, tolerance or"),
    ],
)
def test_a_wrong_check_is_refused_with_its_place(claims_of, check, message):
    with pytest.raises(ClaimError, match=rf"claims.yaml, entry 1 \(T-1\): check 1: .*{message}"):
        claims_of(check)


def test_a_missing_key_of_a_claim_is_named(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("- {id: T-1, paper: p, place: Fig. 1, profiles: [book], checks: [{}]}")
    with pytest.raises(ClaimError, match=r"entry 1 \(T-1\): the key 'statement' is missing"):
        read_claims(path)


def test_an_id_that_appears_twice_is_refused(claims_of, tmp_path):
    claims_of(CHECK)
    path = tmp_path / "claims.yaml"
    path.write_text(path.read_text() * 2)
    with pytest.raises(ClaimError, match=r"entry 2 \(T-1\): another claim has this id"):
        read_claims(path)


def test_a_claim_without_checks_is_refused(claims_of):
    with pytest.raises(ClaimError, match="'checks' is a list of at least one check"):
        claims_of()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: T-1", "should hold a list of claims"),
        ("- [", "is not valid YAML"),
        ("- {id: 2026-13-45}", "is not valid YAML"),
        (
            "- !!python/object/apply:os.system ['true']",
            "is not valid YAML: could not determine a constructor",
        ),
        ("[" * 5000, "is not valid YAML"),
        ("- just text", "a claim is a mapping that starts with 'id: …', got 'just text'"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_refused(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ClaimError, match=message):
        read_claims(path)


def test_an_absent_file_says_what_to_do(tmp_path):
    with pytest.raises(ClaimError, match=r"there is no claims file .*none.yaml; write one"):
        read_claims(tmp_path / "none.yaml")
