"""The public names: what `from minikd import …` gives, to people and to type-checkers."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import minikd

ROOT = Path(__file__).parent.parent
NAMES = [
    "softmax", "log_softmax", "soft_cross_entropy", "hard_cross_entropy", "distillation_loss", "logit_matching",
    "Network", "TrainConfig", "train", "Run", "logits", "count_errors", "save_network", "load_network", "to_onnx",
    "get_device",
    "Dataset", "load_mnist", "load_idx_folder", "Frames", "SoftTargets", "soft_targets", "load_teacher",
    "soft_targets_from", "logits_from_probabilities", "Student", "load_student",
    "check_gradient",
    "geometric_mean", "arithmetic_mean", "matching_shift", "shift_classes", "sufficient_temperature",
]  # fmt: skip


def test_these_names_are_public_and_no_others():
    assert sorted(minikd.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(minikd))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_a_function_or_a_class_of_its_home(name):
    value = getattr(minikd, name)
    assert inspect.isfunction(value) or inspect.isclass(value)
    assert value is getattr(import_module(value.__module__), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented_with_its_arguments_or_an_example(name):
    text = inspect.getdoc(getattr(minikd, name)) or ""
    assert "\nArgs:\n" in text or ">>> " in text
    assert text.splitlines()[0].endswith((".", ":"))


def test_a_name_that_is_not_public_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="module 'minikd' has no attribute 'nonsense'"):
        minikd.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        from minikd import nonsense  # noqa: F401


def loaded(code: str) -> set[str]:
    """The packages that a fresh Python has loaded after this code."""
    code += "\nimport sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name.partition(".")[0] for name in said.stdout.split()}


@pytest.mark.slow
def test_importing_minikd_loads_nothing_and_all_its_names_load_no_cupy_matplotlib_or_onnx():
    assert "numpy" not in loaded("import minikd")
    found = loaded("from minikd import *\nassert callable(train) and callable(sufficient_temperature)")
    assert not {"cupy", "matplotlib", "onnx", "torch"} & found
    assert {"numpy", "minikd"} <= found


def test_type_checkers_are_told_the_names_that_a_program_gets():
    tree = ast.parse((ROOT / "minikd" / "__init__.py").read_text("utf-8"))
    (told,) = [node for node in tree.body if isinstance(node, ast.If)]
    names = [(node.module, one.name, one.asname) for node in told.body for one in node.names]
    assert sorted(names) == sorted((module, name, name) for module, own in minikd._HOMES.items() for name in own)


def test_the_version_comes_first_and_can_be_read_without_running_anything():
    tree = ast.parse((ROOT / "minikd" / "__init__.py").read_text("utf-8"))
    version = tree.body[1]
    assert isinstance(version, ast.Assign)
    assert ast.unparse(version.targets[0]) == "__version__"
    assert ast.literal_eval(version.value) == minikd.__version__


@pytest.mark.slow
def test_a_type_checker_sees_the_signatures_and_refuses_other_names(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text("from minikd import Network, softmax, train\nreveal_type(train)\nfrom minikd import nonsense\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout
    assert 'Revealed type is "def (config: minikd.training.config.TrainConfig, dataset:' in said
    assert 'error: Module "minikd" has no attribute "nonsense"' in said
    assert len([line for line in said.splitlines() if "program.py" in line and "error:" in line]) == 1


# ---- networks that are kept ------------------------------------------------------------------------------------------


def test_a_network_is_kept_under_a_path_in_text_and_found_again(tmp_path):
    config = minikd.TrainConfig(hidden=(3,), epochs=1)
    network = minikd.Network((4, 3, 2), np.arange(23, dtype=np.float32), [{"epoch": 1}])
    minikd.save_network(f"{tmp_path}/new/one.safetensors", network, config)
    found = minikd.load_network(f"{tmp_path}/new/one.safetensors", config)
    assert (found.sizes, found.history) == (network.sizes, network.history)
    assert np.array_equal(found.flat, network.flat)


def test_a_population_is_not_kept_as_if_it_were_a_network(tmp_path):
    network = minikd.Network((4, 3, 2), np.zeros((5, 23), np.float32), [{"epoch": 1}])
    with pytest.raises(ValueError, match="a file holds one network, got a population of 5: choose one, as Network"):
        minikd.save_network(tmp_path / "five.safetensors", network, minikd.TrainConfig(hidden=(3,), epochs=1))
    assert list(tmp_path.iterdir()) == []
