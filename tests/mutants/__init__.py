"""The mutation gate: planted bugs, one at a time, each of which the tests must notice.

    python -m tests.mutants                    plant every bug; exit with 0 only if each one makes a test fail
    python -m tests.mutants dropout jitter     only the bugs whose area or name holds one of these words
    python -m tests.mutants --list             name them and plant nothing

A line of coverage says that a test ran the code; a caught mutant says that it would have seen the bug. The working tree
is never written to: every bug is planted in a copy, and the tests run there in a process of their own.

The lists are also a catalogue of how code for distillation goes wrong: many of these bugs are known from public code.
"""

from . import checks, derivations, engines, losses, network, speech, theory, training

ROOMS = (losses, network, training, checks, theory, derivations, engines, speech)
MUTANTS = [mutant for room in ROOMS for mutant in room.MUTANTS]
