"""`python -m minikd.speech`: train an ensemble on spoken digits, and one student that keeps its gain."""

from minikd.paper.speech_command import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
