"""The mathematics of minikd, a Markdown file a result; `python -m derivations` checks every tagged equation."""
