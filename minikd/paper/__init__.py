"""The paper's experiments: python -m minikd.paper runs them and prints a scoreboard.

command.py         `python -m minikd.paper`: parse, do what is missing, judge, print
speech_command.py  `python -m minikd.speech`: the rows of speech, also on your own recordings
page.py            `python -m minikd.paper.page`: PAPER.md and its figures, from the committed results
teacher.py         `python -m minikd.paper.teacher`: the teacher that ships
figures.py         the page's figures
choices.py         the page's tables of what was tried before the rows had their settings

lab/               how work is done and judged; it knows no experiment
  jobs.py          a piece of work that depends only on its settings and other pieces; where results are kept
  executor.py      jobs through processes or a cluster, in an order that their needs allow
  workers.py       processes on this machine that do calls
  cluster.py       workers of a Dask cluster that do calls
  progress.py      how far the jobs are
  scoreboard.py    a row: claim, the paper's figure, its jobs, and how they are judged
  board.py         the rows of a call, judged and kept in a file as soon as they are finished

tasks/             what a job can be; it imports lab
  networks.py      train a network on digits, average an ensemble, look at gradients
  pairs.py         train a generalist and specialists on pairs of digits, count their combined answers
  speech.py        align a corpus, train an acoustic model, ask a committee of them

rows/              one module per section; it imports lab and tasks
  students.py      M1 to M3: teacher, student alone, student distilled
  grid.py          M4, M5: widths and temperatures
  missing.py       M6 to M9: digits that the student never saw
  gradients.py     E6, E9: sizes of gradients, their spread, and the rates that they tolerate
  ensembles.py     E8: ten networks and one student
  few.py           R1 to R3: a share of the training set
  false_labels.py  N1: labels that are wrong
  specialists.py   P4 to P6: a generalist and specialists on pairs of digits
  speech.py        S1 to S4, and R1 to R3 on speech: acoustic models, an ensemble, a student of it, few data
"""
