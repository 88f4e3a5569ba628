"""From a teacher of any kind to a small student that runs anywhere.

choices.py   the temperature, the weight of the soft targets and the length of training, each with its reason
"""
