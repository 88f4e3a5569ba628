"""`python -m minikd.grade`: check a file of the capstone, or write its template."""

from minikd.commands.grade import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
