"""The paper's experiments: python -m minikd.paper runs them and prints a scoreboard.

jobs.py          a piece of work that depends on nothing but its settings and other pieces; where results are kept
engine.py        jobs through processes or a cluster, in an order that their needs allow
workers.py       … processes on this machine that do calls
cluster.py       … workers of a Dask cluster that do
tasks.py         what a job can be: train a network, average an ensemble
pairs.py         … and of pairs of digits: train a generalist, a specialist, count their combined answers
scoreboard.py    a row of the scoreboard: claim, the paper's figure, its jobs, and how they are judged
students.py      M1 to M3: teacher, student alone, student distilled
grid.py          M4, M5: widths and temperatures
missing.py       M6 to M9: digits that the student never saw
ensembles.py     E8: ten networks and one student
gradients.py     E6, E9: sizes of gradients, their spread, and the rates that they tolerate
few.py           R1 to R3: a share of the training set
false_labels.py  N1: labels that are wrong
specialists.py   P5, P6: a generalist and specialists on pairs of digits
acoustics.py     … and of speech: align a corpus, train an acoustic model, ask a committee of them
speech.py        S1 to S4, and R1 to R3 on speech: an acoustic model, an ensemble of ten, a student of it, few data
"""
