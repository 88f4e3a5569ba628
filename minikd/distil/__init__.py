"""From a teacher of any kind to a small student that runs anywhere.

teachers.py  the teacher's logits, whatever the teacher is
choices.py   the temperature, the weight of the soft targets and the length of training, each with its reason
api.py       from arrays in memory to a student, in one call
student.py   the student: a network, what it reads, and what its answers are called
leave.py     its ways out: ONNX (onnx_model.py), one Python file (standalone.py), weights as bytes (int8.py)
sklearn.py   the same as a classifier of scikit-learn
search.py    a short search for the temperature and the rate on held-out examples
reasons.py   why soft targets did not help, as far as the results can tell
report.py    what came of it, in words
job.py       all of it, from files to a run folder, as `minikd distil` does it
"""

from minikd.distil.api import distil as distil
from minikd.distil.leave import export_student as export_student
from minikd.distil.student import Student as Student
from minikd.distil.student import load_student as load_student
