"""The commands of minikd, apart from `paper` and `speech`."""
