"""Read a displayed equation: from the LaTeX of a derivation to its claims.

display   = claim, then `,`, `\\quad`, `\\qquad` or `\\\\`, then the next claim
claim     = chain, or chain ⟺ chain, with the conditions that follow it: "for a ≥ b", or "(a ≠ 0)"
chain     = expression, relation, expression, relation, expression …
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from derivations.latex import ARROWS, END, RELATIONS, SEPARATORS, Formula, Node, NotRead, spelled, tokens


class Condition(NamedTuple):
    """Of what kind the inputs must be.

    Attributes:
        phrase: all of it, spelled.
        words: the texts in it.
        chains: the chains in it; none, if it cannot be read.
    """

    phrase: str
    words: tuple[str, ...]
    chains: list[list[Any]]


class Claim(NamedTuple):
    """Expressions and the relations between them, and where it holds.

    Attributes:
        chain: expression, relation, expression, …
        arrow: the chain that holds just where this one's last relation does, or an empty one.
        conditions: under which it holds.
    """

    chain: list[Any]
    arrow: list[Any]
    conditions: list[Condition]


@cache
def read(latex: str, functions: frozenset[str] = frozenset()) -> list[Claim]:
    """The claims of a display, in order.

    Args:
        latex: of the display.
        functions: the names that take arguments; before any other name a bracket is a factor.
    """
    return Display(tokens(latex), functions).display()


class Display(Formula):
    """The rules above those of a formula."""

    def display(self) -> list[Claim]:
        claims: list[Claim] = []
        while self.peek() != END:
            if self.took(*SEPARATORS):
                continue
            if self.peek() == "text" or (claims and self._parenthesised_condition()):
                claims[-1].conditions.append(self.condition())
            elif self.took(*ARROWS):
                while self.took(*SEPARATORS):
                    pass
                claims[-1].arrow.extend(self.chain())
            else:
                claims.append(Claim(self.chain(), [], []))
                if self.peek() not in (END, "text", *SEPARATORS, *ARROWS):
                    raise NotRead(f"{spelled(self.pieces)} goes on at {self.peek()}")
        return [*claims, *(Claim([node, "=", label], [], []) for node, label in _labels(claims))]

    def condition(self) -> Condition:
        """Words up to the next claim, with the chains among them; or a chain in parentheses."""
        start = self.at
        while self.peek() not in (END, r"\qquad", r"\\", *ARROWS):
            self.at += 1
        pieces = self.pieces[start : self.at]
        while pieces[-1].text in SEPARATORS:
            pieces = pieces[:-1]
        words = tuple(piece.text.strip() for piece in pieces if piece.kind == "text")
        try:
            return Condition(spelled(pieces), words, self.inside("conditions", pieces))
        except NotRead:  # the check says what the words mean
            return Condition(spelled(pieces), words, [])

    def conditions(self) -> list[list[Any]]:
        chains = []
        while self.peek() != END:
            if self.peek() == "(" and self._parenthesised_condition():
                self.at += 1
                chains.append(self.chain())
                self.take(")")
            elif not (self.took("text", *SEPARATORS)):
                chains.append(self.chain())
        return chains

    def _parenthesised_condition(self) -> bool:
        """Whether `(…)` stands here with a relation in it."""
        if self.peek() != "(":
            return False
        depth = 0
        for ahead in range(len(self.pieces) - self.at):
            depth += {"(": 1, ")": -1}.get(self.peek(ahead), 0)
            if depth == 0:
                return False
            if depth == 1 and self.peek(ahead) in RELATIONS:
                return True
        return False


def _labels(claims: list[Claim]) -> list[tuple[Node, Node]]:
    """What braces with a label below them say."""

    def walk(node: Any) -> Iterator[tuple[Node, Node]]:
        if isinstance(node, Node) and node.kind == "labelled":
            yield node.parts
        if isinstance(node, tuple | list):
            for part in node.parts if isinstance(node, Node) else node:
                yield from walk(part)

    return list(walk([claim.chain for claim in claims]))
