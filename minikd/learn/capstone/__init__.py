"""The capstone "Distillation from nothing": eight functions that the reader writes, and a judge for the file.

my_distillation.py   the solution: plain NumPy, in one file, from which the template is made
template             the file that a reader begins with
judge                what is right in a file, and what is not
process, worker      run a file in a process of its own; `values` is what passes between the two
noise                the training of a file, beside that of minikd with the same settings
"""
