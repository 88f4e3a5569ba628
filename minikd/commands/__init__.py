"""The commands of minikd, except `paper` and `speech`."""
