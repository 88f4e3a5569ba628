"""The guides, and the README's section on distilling your own, do what they print."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from minikd.__main__ import main

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN = README[README.index("\n## Distil your own") : README.index("\n## Check it")]
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in GUIDES} | {"the README": OWN}
TOLERANCE = 0.04
"""By how much a share of right answers may differ on another processor."""
NUMBER = r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?"


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(\w+)\n(.*?)```", text, re.S)


def test_a_guide_links_only_to_what_is_there():
    for path in GUIDES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
    listed = set(re.findall(r"\((\S+\.md)\)", TEXTS["README"]))
    assert {path.name for path in GUIDES} - {"README.md"} <= listed


def words(text: str) -> str:
    """A text without what differs between machines: numbers, units of time, where lines break, and what is chance."""
    plain = re.sub(NUMBER, "#", " ".join(text.split()).replace("; this may be chance", ""))
    return re.sub("# (µs|ms|s)\\b", "# s", plain)


def check_printed(out: str, shown: str) -> None:
    """Check that what is shown has been printed. A line of … stands for a part that is left out."""
    for part in re.split("^…$", shown, flags=re.M):
        assert words(part) in words(out), f"{part}\nis not in\n{out}"
    if "…" not in shown:
        for a, b in zip(re.findall(NUMBER, out), re.findall(NUMBER, shown), strict=True):
            a, b = a.replace(",", ""), b.replace(",", "")
            assert float(a) == pytest.approx(float(b), rel=0.2 if float(b) > 1 else 0, abs=TOLERANCE)


def check_gain(out: str) -> None:
    """Check that the students in the guide on training gain from soft targets, over seeds."""
    name, teacher, *rows = out.splitlines()[0].split() + out.splitlines()[1:]
    errors = {row.split()[0]: json.loads(row[row.index("[") :]) for row in rows}
    assert (name, list(errors)) == ("teacher", ["alone", "distilled"])
    assert int(teacher) < 200
    saved = [a - b for a, b in zip(errors["alone"], errors["distilled"], strict=True)]
    assert len(saved) == 4
    assert sum(saved) > 0
    assert np.mean(saved) > np.std(saved, ddof=1) / 2, f"the gain does not hold over seeds: {saved}"


def command(line: str) -> None:
    """Run a line of a shell that calls minikd."""
    words = shlex.split(line, comments=True)
    program = words.index("minikd") if "minikd" in words else None
    if program is not None:
        main(words[program + 1 :])
        return
    python, m, module, *rest = words
    if module == "pip":  # what it installs is here
        return
    assert (Path(python).name, m, module.partition(".")[0]) == ("python", "-m", "minikd")
    main([module.partition(".")[2], *rest])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"README"}))
def test_every_block_runs_as_it_is_printed(name, tmp_path, monkeypatch, capsys):
    found = blocks(TEXTS[name])
    for library in ("torch", "sklearn", "onnx", "onnxruntime"):
        if any(f"import {library}" in code or f"from {library}" in code for _, code in found):
            pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["guide"])
    space: dict[str, object] = {}
    out = ""
    for kind, code in found:
        if kind == "text":
            check_printed(out, code)
            continue
        if kind == "python":
            exec(code, space)
        else:
            assert kind == "sh"
            for line in code.splitlines():
                command(line)
        out = capsys.readouterr().out
        if name == "training" and "soft_targets" in code:
            check_gain(out)


def test_pictures_come_in_the_order_that_the_guides_tell(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    for folder, names in {"b": ["2", "10", "1", "3", "4"], "a": ["6", "5", "9", "8", "7"]}.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for name in names:
            image.new("L", (2, 2), 20 * int(name) + 5).save(tmp_path / "photos" / folder / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    (code,) = [code for kind, code in blocks(TEXTS["README"]) if kind == "python"]
    exec(code, space)
    train, test = (space[part][:, 0, 0] // 20 for part in ("train", "test"))
    assert (train.tolist(), test.tolist()) == ([5, 6, 7, 8, 1, 10, 2, 3], [9, 4])
