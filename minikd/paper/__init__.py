"""The paper's experiments: python -m minikd.paper runs them and prints a scoreboard.

jobs.py       a piece of work that depends on nothing but its settings and other pieces; where results are kept
engine.py     jobs through processes or a cluster, in an order that their needs allow
tasks.py      what a job can be: train a network, average an ensemble
scoreboard.py a row of the scoreboard: claim, the paper's figure, its jobs, and how they are judged
students.py, missing.py, …    the rows, a module a section of the paper
"""
