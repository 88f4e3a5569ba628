"""`python -m minikd.distil`: your data and your teacher, distilled into a small network."""

from minikd.commands.distil import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
