"""The mathematics: pure functions on arrays of NumPy or CuPy. Nothing here imports the rest of minikd."""
