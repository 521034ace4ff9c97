"""The command ``python -m memorization``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from memorization.runs.parameters import (
    PROFILES,
    Parameter,
    ParameterError,
    check_parameters,
    check_profile,
    declared_parameters,
    names,
    profile_values,
    project_root,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 where a run failed, 2 where it was asked wrongly."""
    args = _parser().parse_args(argv)
    root = Path(args.root).resolve() if args.root else project_root()
    try:
        if root is None or not (root / "notebooks").is_dir():
            raise ParameterError(f"no project in {args.root or Path.cwd()}: give its folder with --root.")
        return int(args.command(root, args))
    except (ParameterError, FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"error: {error.filename}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; finished points are kept, and the same command goes on from there.", file=sys.stderr)
        return 130


def _run(root: Path, args: argparse.Namespace) -> int:
    from memorization.runs.book import execute_all
    from memorization.runs.notebook import Job

    if args.all == bool(args.names):
        raise ParameterError("name the notebooks to run, or give --all (and not both).")
    if args.jobs < 1:
        raise ParameterError(f"--jobs {args.jobs}; allowed: 1 or more notebooks at a time.")
    if (args.p or args.y or args.out) and len(args.names) != 1:
        raise ParameterError("-p, -y and -o belong to one notebook: name exactly one.")
    given = _given(declared_parameters(root, args.names[0]), args) if len(args.names) == 1 else {}
    out = Path(args.out) if args.out else None
    jobs = [
        Job(root, name, args.profile, given, out, timeout=args.timeout, scheduler=args.scheduler)
        for name in (args.names or names(root))
    ]
    for job in jobs:
        job.check_target()
    force = args.force or not args.all
    return 1 if execute_all(jobs, parallel=args.jobs, force=force, recorded=args.recorded) else 0


def _given(known: Mapping[str, Parameter], args: argparse.Namespace) -> dict[str, Any]:
    """What -y and -p say; every mistake in them is told at once."""
    given: dict[str, Any] = {}
    for text in args.y or []:
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ParameterError(f"-y {text!r} is not valid YAML: {error}") from None
        if not isinstance(values, dict):
            raise ParameterError(f"-y {text!r}; allowed: a mapping such as '{{sizes: [10, 20]}}'.")
        given |= values
    problems = []
    for name, text in args.p or []:
        try:
            given[name] = known[name].parse(text) if name in known else text
        except ParameterError as error:
            problems.append(str(error))
    if "profile" in given:
        problems.append(f"profile = {given.pop('profile')!r} is chosen with --profile, which reads its file.")
    try:
        check_parameters(known, given)
    except ParameterError as error:
        problems.append(str(error))
    if problems:
        raise ParameterError("\n".join(problems))
    return given


def _parameters(root: Path, args: argparse.Namespace) -> int:
    known = declared_parameters(root, args.name)
    folder = root / "notebooks" / "parameters"
    there = [p for p in PROFILES if (folder / f"{args.name}.{p}.yaml").is_file()]
    profiles = {p: profile_values(root, args.name, p) for p in there}
    for p in known.values():
        print(_wrapped(f"{p.name}: {p.type} = {p.default!r}", ""))
        print(_wrapped(f"{p.meaning} [{p.unit}]; allowed: {p.allowed}", "    "))
    for profile, values in profiles.items():
        changed = ", ".join(f"{k}={v!r}" for k, v in values.items() if k != "profile")
        print("\n" + _wrapped(f"profile {profile}: {changed or 'the defaults'}", ""))
    return 0


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent + "    ")


def _book(root: Path, args: argparse.Namespace) -> int:
    from memorization.runs.book import render

    check_profile(args.profile)
    print(f"The book is built. Open {render(root, args.profile).as_uri()} or run `make serve`.")
    return 0


def _results(root: Path, args: argparse.Namespace) -> int:
    from memorization.runs.book import publish, take_in

    check_profile(args.profile)
    done = take_in(root, Path(args.folder)) if args.folder else publish(root, args.profile)
    print(*done or ["nothing new"], sep="\n")
    return 0


def _points(root: Path, args: argparse.Namespace) -> int:
    from memorization.runs.budget import answer

    counts = answer(root, args.profile, args.seconds, Path(args.out), args.names)
    for name, count in counts.items():
        print(
            f"{name}: {count['done']} points done, {count['lacking']} lacking", *count["failed"], sep="\n  "
        )
    return 0


def _replicate(root: Path, args: argparse.Namespace) -> int:
    from memorization.runs.replication import replicate

    check_profile(args.profile)
    path = replicate(root, args.name, args.profile, args.sets)
    print(f"How often each verdict came is in {path}; `make results` publishes it.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m memorization", description=__doc__)
    parser.add_argument("--root", help="the project's folder (default: found from here)")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="execute notebooks with checked parameters")
    run.add_argument("names", nargs="*", metavar="NAME", help="notebooks, without .py")
    run.add_argument("--all", action="store_true", help="every notebook whose output is stale")
    run.add_argument("--force", action="store_true", help="with --all: fresh ones too")
    run.add_argument("--recorded", action="store_true", help="only those whose points are all published")
    run.add_argument("-p", nargs=2, action="append", metavar=("KEY", "VALUE"), help="one parameter")
    run.add_argument("-y", action="append", metavar="YAML", help="parameters as a YAML mapping")
    run.add_argument("-o", "--out", metavar="FILE", help="where the executed notebook goes")
    run.add_argument("--jobs", type=int, default=1, help="how many notebooks at a time")
    run.add_argument("--timeout", type=int, default=36_000, help="seconds that one cell may take")
    run.add_argument("--scheduler", metavar="tcp://…", help="a Dask scheduler whose workers run the points")
    run.set_defaults(command=_run)

    table = commands.add_parser("parameters", help="print a notebook's parameters")
    table.add_argument("name", metavar="NAME")
    table.set_defaults(command=_parameters)

    book = commands.add_parser("book", help="build the HTML book from executed notebooks")
    book.set_defaults(command=_book)
    results = commands.add_parser("results", help="publish records, verdicts and prices into results/")
    results.add_argument("--from", dest="folder", metavar="FOLDER", help="take in what .ci/gpu left there")
    results.set_defaults(command=_results)
    again = commands.add_parser("replicate", help="run a notebook on other seeds, and count verdicts")
    again.add_argument("name", metavar="NAME", help="a notebook with claims, without .py")
    again.add_argument("--sets", type=int, default=5, help="of seeds, the profile's own first (default: 5)")
    again.set_defaults(command=_replicate)
    points = commands.add_parser("points", help="run as many points as some seconds allow, without the pages")
    points.add_argument("names", nargs="*", metavar="NAME", help="notebooks (default: all)")
    points.add_argument("--seconds", type=float, required=True, help="after these no point begins")
    points.add_argument("-o", "--out", required=True, metavar="FOLDER", help="where records and counts go")
    points.set_defaults(command=_points)
    for command in (run, book, results, again, points):
        command.add_argument(
            "--profile", default="book", help=f"one of {', '.join(PROFILES)} (default: book)"
        )
    return parser
