"""`python -m minikd.paper`: run the paper's experiments and print the scoreboard."""

from minikd.paper.command import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
