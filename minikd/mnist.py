"""`python -m minikd.mnist`: a teacher, a student alone, and the same student distilled."""

from minikd.commands.mnist import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
