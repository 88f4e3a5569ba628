"""\
Speech (Hinton, Vinyals & Dean 2015, sections 4 and 6): strings of spoken digits in noise, a hidden Markov model, and a
network that says for each frame how probable each state is. The command trains networks that differ only in their first
weights, and one student that is distilled from their ensemble, and measures frame accuracy and word error rate (S1 to
S4). Then it trains on 3 % of the speech, with hard and with soft targets (R1 to R3). Every result is shown beside the
paper's figure, with a verdict.

examples:
  python -m minikd.speech                      everything, on two cores
  python -m minikd.speech --data DIR           on recordings that are there already
  python -m minikd.speech --profile smoke      tiny: does it run? It claims nothing
  python -m minikd.speech --profile full --gpu the paper's 8 layers of 2560 units, more data, more seeds

The recordings are those of the Free Spoken Digit Dataset, 3,000 by six speakers, which is fetched once, or your own,
arranged in the same way: recordings/{digit}_{speaker}_{take}.wav, 8 kHz, mono, 16 bit. Takes 0 to 4 are the test set.
Takes 5 to 9 are the development set, on which everything is chosen. The last speaker by name is in neither set, and is
reported separately. Small sets work too: a share of the speech is whole utterances, at least one, and a batch is at
most the whole share.

Results are kept below --out and found again: if a call was stopped, the same command resumes it. The rows are those of
`python -m minikd.paper`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minikd.paper.command import Call, add_options, run
from minikd.paper.rows.speech import PLANS, check, rows
from minikd.speech.recordings import fetch, load
from minikd.system.cli import Parser, numbers


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check, do what is missing, judge, print."""
    parser = Parser("speech", __doc__)
    shown = ", ".join(f"{profile} {','.join(map(str, plan.hidden))}" for profile, plan in PLANS.items())
    about = f"units of each hidden layer of every acoustic model [{shown}]"
    parser.add_argument("--hidden", type=numbers(int), metavar="H,H", help=about)
    shown = ", ".join(f"{profile} {plan.members}" for profile, plan in PLANS.items())
    parser.add_argument("--members", type=int, metavar="N", help=f"networks in the ensemble [{shown}]")
    add_options(parser)
    args = parser.parse_args(argv)
    if args.members is not None and args.members < 2:
        parser.fail(f"--members must be ≥ 2, because one network is no ensemble, got {args.members}")
    if args.hidden is not None and min(args.hidden) < 1:
        parser.fail(f"--hidden must be layer sizes, each a whole number ≥ 1, got {args.hidden}")
    plan = PLANS[args.profile]
    try:
        given = None if args.data is None else load(args.data)
        if given is not None:
            check(plan, given)
            plan = replace(plan, digest=given.digest)
    except ValueError as error:
        parser.fail(str(error))
    plan = replace(plan, hidden=args.hidden or plan.hidden, members=args.members or plan.members)
    run(Call(parser, args, lambda: given or fetch()), rows({args.profile: plan}))
