"""Leave out the doctests of modules that need a library which is not installed, and files that no test module is."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("sklearn") else ["minikd/distil/sklearn.py"]
collect_ignore_glob = ["tests/lessons/*.py"]  # they run in a notebook's kernel, with its names
