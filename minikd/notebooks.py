"""`python -m minikd.notebooks`: open, execute or check the notebooks."""

from minikd.learn.notebooks import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
