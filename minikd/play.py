"""`python -m minikd.play`: open or write the page to play with."""

from minikd.learn.play import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
