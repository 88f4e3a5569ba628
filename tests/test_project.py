"""The project's own files agree with each other."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_workflow_runs_the_readmes_test_command():
    (command,) = re.findall(r"<!-- test command -->\s+```sh\n(.+)\n```\s+<!-- end -->", text("README.md"))
    assert f"          {command}\n" in text(".github/workflows/ci.yml")


def test_a_commit_is_checked_with_the_version_of_ruff_that_ci_runs():
    (pinned,) = re.findall(r'"ruff==([\d.]+)"', text("pyproject.toml"))
    assert f"astral-sh/ruff-pre-commit\n    rev: v{pinned} " in text(".pre-commit-config.yaml")


def test_the_version_stands_in_one_place():
    assert 'dynamic = ["version"]' in text("pyproject.toml")
    assert "\nversion:" not in text("CITATION.cff")
