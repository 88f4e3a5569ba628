"""`python -m minikd.backend`: test the GPU, with one line for what is wrong."""

from minikd.commands.gpu import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
