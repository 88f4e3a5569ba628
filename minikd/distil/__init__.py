"""From a teacher of any kind to a small student that runs anywhere.

choices.py    the temperature, the weight of the soft targets and the length of training, each with its reason
student.py    a network with what it reads and what its answers are called
teachers.py   the teacher's logits, whatever the teacher is
"""
