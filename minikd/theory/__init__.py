"""What the derivations prove beyond the core, and what is said of networks that were measured.

limits.py           how high a high temperature is
ensembles.py        one teacher from the logits of several
dark_knowledge.py   what a teacher says about the wrong classes
priors.py           classes that the transfer set lacked
specialists.py      one answer from a generalist and its specialists
statistics.py       intervals and tests that verdicts on networks rest on
calibration.py      whether a network is right as often as it says
host.py             the checks of functions that work on the host only
"""
