"""No typed results: a number, an order or a word of outcome is computed by the run that a page speaks of.

Held against this rule are what ``show``, ``explore``, ``table`` and ``say`` are given, outside the braces
of an f-string, the names of panels, and Markdown; there not cells with the tag ``theory`` (definitions,
theorems, methods, the paper's words), nor questions, nor sentences that say whose statement they are.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))
TOLD = {"show": ("title", "alt"), "explore": ("title", "alt"), "name_panel": (1,), "say": (0, "text")}
TOLD |= {"solution": (0, "text"), "table": (1, "caption")}

OUTCOME = re.compile(
    r"\b(rises?|rose|risen|falls?|fell|fallen|grows?|grew|grown|drops?|dropped|shrinks?|vanish(?:es)?"
    r"|decreases?|increases?|loses?|lost|survives?|cures|fails?|failed|keeps?|kept|coincides?|improves?|beats?"
    r"|collapses?|stays?|flat|always|never|only|first|most|mostly|hardly|barely|highest|lowest|higher|lower"
    r"|better|worse|worst|less than|more than|near(?:ly)? (?:one|zero))\b|\d",
    re.IGNORECASE,
)
# Code, formulas, roles and targets of links; labels, list numbers, sizes, the level of an interval; names, as
# CIFAR-10, SM-16 and float64 are.
NO_RESULT = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\{[a-z:]+\}|\]\([^)]*\)"
    r"|^\([\w-]+\)=$|^\d+\. |\bat (?:most|least)\b|\b\d+×\d+\b|\b95 %"
    r"|\b(?:[A-Za-z]+[-_])+P?\d+\b|\b[A-Za-zφ]+\d\w*\b|\b[Ww]orst[- ](?:\w+ )?group\b|\bworse class\b",
    re.DOTALL | re.MULTILINE,
)
WHOSE = re.compile(
    r"\b(paper|authors|theor(?:y|em|ems)|formulas?|closed forms?|published code|by construction"
    r"|we call|by (?:our )?definition|by the argument)\b|\{cite",
    re.IGNORECASE,
)
BLOCKS = re.compile(r"\n\s*\n|\n(?=#|- |\d+\. |Question \||:::)")
SENTENCES = re.compile(r"(?<=[.!?])(?<!^\d\.)[\s)*]+(?=[^a-z\s])")


def typed_results(text):
    """Return digits and words of outcome in a text that tells results."""
    return [found.group() for found in OUTCOME.finditer(NO_RESULT.sub(" ", text))]


def told_sentences(markdown):
    """Return the sentences of a Markdown text that neither ask nor say whose statement they are."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", markdown, flags=re.DOTALL)
    sentences = [part for block in BLOCKS.split(text) for part in SENTENCES.split(block)]
    return [one for one in sentences if not one.rstrip(" *)\n").endswith("?") and not WHOSE.search(one)]


def typed_in_markdown(head, body):
    """Return the typed results of a Markdown cell, given as what stands behind ``# %%``, and its lines."""
    text = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
    return [] if '"theory"' in head else [word for one in told_sentences(text) for word in typed_results(one)]


def typed_in_code(source):
    """Return the typed results in titles, text alternatives, captions, sentences and names of panels."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    told = []
    for call in calls:
        where = TOLD.get(getattr(call.func, "id", ""), ())
        told += [given for place, given in enumerate(call.args) if place in where]
        told += [word.value for word in call.keywords if word.arg in where]
    return [word for node in told for text in fixed_texts(node) for word in typed_results(text)]


def fixed_texts(node):
    """Return the texts that an expression shows as they are typed: not what calls and lookups are given."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        fixed = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return [fixed, *_within(part.value for part in node.values if isinstance(part, ast.FormattedValue))]
    if isinstance(node, ast.Call):
        joined = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        return _within([*joined, *(one for one in node.args if isinstance(one, ast.GeneratorExp))])
    if isinstance(node, ast.GeneratorExp):
        return fixed_texts(node.elt)
    return [] if isinstance(node, ast.Subscript | ast.Compare) else _within(ast.iter_child_nodes(node))


def _within(nodes):
    return [text for node in nodes for text in fixed_texts(node)]


def cells(name):
    """Return the cells of a notebook: pairs of what stands behind ``# %%``, and of their lines."""
    parts = re.split(r"^# %%(.*)$", (ROOT / "notebooks" / f"{name}.py").read_text(), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", [*PAPERS, "welcome"])
def test_no_result_is_typed_into_a_page(name):
    typed = {}
    for head, body in cells(name):
        found = typed_in_markdown(head, body) if "[markdown]" in head else typed_in_code(body)
        typed |= {body: found} if found else {}
    assert typed == {}


@pytest.mark.parametrize("study", PAPERS)
def test_no_result_is_typed_into_the_name_of_a_panel(study):
    source = (ROOT / "lib" / "memorization" / "studies" / study / "figures.py").read_text()
    assert typed_in_code(source) == []


@pytest.mark.parametrize("path", sorted((ROOT / "book" / "ideas").glob("*.md")), ids=lambda path: path.stem)
def test_an_idea_page_tells_no_result_of_ours(path):
    """It explains; what was measured is said by the notebook."""
    ours = re.compile(r"\b(our (?:runs|small networks|records)|we (?:measured|found|see|saw))\b", re.I)
    sentences = [one for one in told_sentences(path.read_text()) if ours.search(one)]
    assert [one for one in sentences if typed_results(one)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The probe rises before the labels are memorized.", ["rises"]),
        ("An accuracy of 0.65 is reached.", ["0", "6", "5"]),
        ("The labels sit in the last layers only.", ["only"]),
        ("On CIFAR-10 and 8×8 digits, claim SM-16, 95 % intervals, at most $0.3$ of `-p k 50`.", []),
    ],
)
def test_a_typed_result_is_found_and_a_name_or_a_size_is_none(text, found):
    assert typed_results(text) == found


@pytest.mark.parametrize(
    ("head", "body", "found"),
    [
        ("", "# The order is as expected. Accuracy falls to a guess.", ["falls"]),
        ("", "# ## Accuracy fails outside\n#\n# Does it?", ["fails"]),
        ("", "# - Does accuracy fall? It stays.\n# - By the formula the margin falls.", ["stays"]),
        ('tags=["theory"]', "# Accuracy falls to a guess.", []),
    ],
)
def test_markdown_may_ask_and_cite_but_not_tell(head, body, found):
    assert typed_in_markdown(head, body) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('show(run, f, d, name="a9", title="Only this rises", alt=f"From {x} up")', ["Only", "rises"]),
        ("""show(run, f, d, title=f"With N it {trend(d, 'N', 'y3')}", alt=words(d, "x9") + ".")""", []),
        ("""show(run, f, d, title="a " + listed(f"{w} first" for w in ws), alt=f"{a['b']}")""", ["first"]),
        ('table(frame, f"Mean over {n} seeds: better")', ["better"]),
        ('display(say(f"The risk is {number(x)}, never {y}."))', ["never"]),
        ('name_panel(ax, "labels stay here")', ["stay"]),
    ],
)
def test_what_is_shown_must_be_computed(source, found):
    assert typed_in_code(source) == found
