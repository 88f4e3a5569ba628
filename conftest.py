"""Leave out the doctests of modules that need a library which is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("sklearn") else ["minikd/distil/sklearn.py"]
