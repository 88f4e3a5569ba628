"""The words that explain the mistakes, from the page `mistakes.md`."""

import re
from functools import cache
from importlib import resources

SHARED = "Several problems"


def why(problem: str, mistake: str) -> str:
    """Return why this is a mistake in this problem."""
    return words()[problem].get(mistake) or words()[SHARED][mistake]


@cache
def words() -> dict[str, dict[str, str]]:
    """Return, for each section of the page, its mistakes and their explanations."""
    page = resources.files("minikd.doctor").joinpath("mistakes.md").read_text(encoding="utf-8")
    sections = {}
    for section in page.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        _, _, *rows = re.findall(r"^\|(?: (.+?) \| (.+?) \||.*)$", text, re.MULTILINE)  # below the head of the table
        sections[title] = dict(rows)
    return sections
