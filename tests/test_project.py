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


def test_data_by_others_have_a_notice_that_the_licence_and_the_package_name():
    for folder, authors, licence in (
        ("mnist", "Yann LeCun and Corinna Cortes", "CC BY-SA 3.0"),
        ("speech", "Zohar Jackson and contributors", "CC BY-SA 4.0"),
    ):
        notice = f"minikd/embedded/{folder}/README.md"
        assert authors in text(notice)
        assert f"({licence})" in text(notice)
        assert f'"{notice}"' in text("pyproject.toml")
        assert f'"embedded/{folder}/*"' in text("pyproject.toml")
        assert licence.replace("CC BY-SA", "CC-BY-SA").replace(" ", "-") in text("pyproject.toml")
        assert f"minikd/embedded/{folder}" in text("LICENSE")
        assert f"]({notice})" in text("README.md")


def test_the_recordings_in_the_package_are_small():
    assert (ROOT / "minikd/embedded/speech/recordings.tar.xz").stat().st_size < 300_000
