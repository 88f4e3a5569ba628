"""`python -m minikd.predict`: the class of images or features, named by a student."""

from minikd.commands.predict import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
