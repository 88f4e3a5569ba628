"""From a teacher of any kind to a small student that runs anywhere.

choices.py   the temperature, the weight of the soft targets and the length of training, each with its reason
search.py    a short search for the temperature and the rate on held-out examples
reasons.py   why soft targets did not help, as far as the results can tell
report.py    what came of it, in words
"""
