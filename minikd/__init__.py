"""Knowledge distillation (Hinton, Vinyals & Dean 2015) you can read, check and use."""

__version__ = "0.1.0"
