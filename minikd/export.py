"""`python -m minikd.export`: write a trained network as ONNX, or as one Python file."""

from minikd.commands.export import main
from minikd.system.cli import start

if __name__ == "__main__":
    start(main)
