"""Read a formula: from LaTeX to a tree of expressions.

The derivations use a small part of LaTeX. This parser knows that part and nothing else, and raises on the rest, so that
no sign or number of a formula is passed over.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

TOKEN = re.compile(
    r"""\\text\{(?P<text>[^}]*)\}
    | \\(?:mathrm|mathbf|operatorname)\{(?P<word>[^}]*)\}
    | (?P<environment>\\(?:begin|end)\{\w+\})
    | (?P<spacing>\s+|&|\\[,;!\ ]|\\(?:left|right|[bB]ig)(?![A-Za-z]))
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<differential>d(?=[A-Za-z]))
    | (?P<other>\\[A-Za-z]+|\\.|.)""",
    re.VERBOSE,
)
END = "the end"
RELATIONS = {
    "=": "=", r"\le": "≤", r"\ge": "≥", "<": "<", ">": ">", r"\ne": "≠", r"\approx": "≈", r"\in": "∈",
    r"\propto": "∝", r"\to": "→", r"\longrightarrow": "→",
}  # fmt: skip
STARTS = {"=": "from", "∈": "in", "→": "to", "≠": "except"}
ARROWS = (r"\Longleftrightarrow", r"\Longrightarrow")
SEPARATORS = (",", ":", r"\quad", r"\qquad", r"\\")
ACCENTS = (r"\bar", r"\tilde", r"\hat", r"\overline")
FUNCTIONS = (r"\log", r"\exp", r"\tanh")
SUMS = (r"\sum", r"\prod", r"\max", r"\min", r"\arg")
CLOSING = {"(": ")", "[": "]", "{": "}", r"\lvert": r"\rvert", r"\lVert": r"\rVert", "|": "|", r"\|": r"\|"}
BRACKETS = ("(", "[")
STOPS = (END, "text", "+", "-", "/", r"\cdot", r"\circ", ")", "]", r"\rvert", r"\rVert", r"\mid", "_", "^", "'")


class Token(NamedTuple):
    kind: str  # text, word, environment, number, differential or other
    text: str


class Node(NamedTuple):
    kind: str
    parts: tuple[Any, ...]


class NotRead(ValueError):
    """A display holds something that this parser does not know."""


def tokens(latex: str) -> list[Token]:
    """The LaTeX in pieces, without its tag and without what only sets it.

    >>> [token.text for token in tokens(r"\\frac{1}{T}\\,(q_k - p_k) \\tag{D2.4}")]
    ['\\\\frac', '{', '1', '}', '{', 'T', '}', '(', 'q', '_', 'k', '-', 'p', '_', 'k', ')']
    """
    latex = re.sub(r"\\tag\{.*?\}|\\(?:begin|end)\{aligned\}", "", latex)
    latex = re.sub(r"\\(t?frac)(\d)(?=\d)", r"\\\1{\2}", latex)
    latex = re.sub(
        r"\\begin\{(pmatrix|cases)\}.*?\\end", lambda match: match[0].replace("&", ","), latex, flags=re.DOTALL
    )
    found = [Token(match.lastgroup, match[match.lastgroup]) for match in TOKEN.finditer(latex)]
    return [token for token in found if token.kind != "spacing"]


def spelled(pieces: list[Token]) -> str:
    r"""Tokens as one name: `\bar v` as "bar v", `q | D_m` as "q|D_m"."""
    text = "".join(f" {piece.text} " if piece.kind == "text" else re.sub(r"\\(\w+)", r"\1 ", piece.text)
                   for piece in pieces if piece.text not in "{}")  # fmt: skip
    return " ".join(text.split())


class Formula:
    """A recursive descent: one method per rule of the grammar, each takes its tokens off the front."""

    def __init__(self, pieces: list[Token], functions: frozenset[str]) -> None:
        self.pieces, self.functions, self.at = pieces, functions, 0
        self.open: list[str] = []  # what ends the expressions that are being read: a bar, two bars, a differential

    # ---- tokens ------------------------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> str:
        """The text of a token to come; words and texts show as their kind, to be taken for no symbol."""
        if self.at + ahead >= len(self.pieces):
            return END
        token = self.pieces[self.at + ahead]
        return token.text if token.kind in ("other", "number", "environment") else token.kind

    def take(self, *expected: str) -> Token:
        if self.peek() == END or (expected and self.peek() not in expected):
            raise NotRead(f"expected {' or '.join(expected) or 'more'}, got {self.peek()} in {spelled(self.pieces)}")
        self.at += 1
        return self.pieces[self.at - 1]

    def took(self, *texts: str) -> bool:
        """Whether the next token is one of these; if so, it is taken."""
        if self.peek() not in texts:
            return False
        self.at += 1
        return True

    def group(self) -> list[Token]:
        """The tokens of `{…}`, or the one token that stands there without braces."""
        if self.peek() != "{":
            return [self.take()]
        depth, start = 0, self.at
        while True:
            depth += {"{": 1, "}": -1}.get(self.take().text, 0)
            if depth == 0:
                return self.pieces[start + 1 : self.at - 1]

    def inside(self, rule: str, pieces: list[Token] | None = None) -> Any:
        """What a rule makes of all of a group."""
        parser = type(self)(self.group() if pieces is None else pieces, self.functions)
        result = getattr(parser, rule)()
        if parser.peek() != END:
            raise NotRead(f"{spelled(parser.pieces)} goes on at {parser.peek()}")
        return result

    # ---- expressions -------------------------------------------------------------------------------------------------

    def chain(self) -> list[Any]:
        links = [self.expression()]
        while self.peek() in RELATIONS:
            relation = RELATIONS[self.take().text]
            links += [relation, self.interval() if relation == "∈" and self.peek() in BRACKETS else self.expression()]
        return links

    def expression(self) -> Node:
        result = self.signed_term()
        while self.peek() in ("+", "-"):
            sign = self.take().text
            result = Node("add" if sign == "+" else "subtract", (result, self.term()))
        return result

    def signed_term(self) -> Node:
        if self.took("-"):
            return Node("negative", (self.term(),))
        self.took("+")
        return self.term()

    def term(self) -> Node:
        result = self.factor()
        while True:
            if self.took("/"):
                result = Node("divide", (result, self.factor()))
            elif self.took(r"\cdot"):
                result = Node("multiply", (result, self.factor()))
            elif self.took(r"\circ"):
                result = Node("elementwise", (result, self.factor()))
            elif self.peek() == "|" and self.peek(1) == "_":
                self.at += 2
                result = Node("at", (result, self.inside("chain")))
            elif self._starts_a_factor():
                result = Node("multiply", (result, self.factor()))
            else:
                return result

    def body(self) -> Node:
        """What a sum, a product or a logarithm of a sum acts on: the factors up to the next operator."""
        result = self.factor()
        while self.peek() == "/" or self._starts_a_factor():
            kind = "divide" if self.took("/") else "multiply"
            result = Node(kind, (result, self.factor()))
        return result

    def _starts_a_factor(self) -> bool:
        if self.peek() == "|" and self.peek(1) == "_":  # the value at …
            return False
        return self.peek() not in (*STOPS, *RELATIONS, *ARROWS, *SEPARATORS, *self.open)

    def factor(self) -> Node:
        token = self.peek()
        if token in SUMS:
            return self.big()
        if token in FUNCTIONS:
            return self.function()
        if token == r"\int":
            return self.integral()
        if token == r"\lim":
            return self.limit()
        if token in (r"\frac", r"\tfrac"):
            return self.fraction()
        if token == r"\sqrt":
            self.take()
            return Node("sqrt", (self._argument(),))
        if token == r"\underbrace":
            self.take()
            below = self.inside("expression")
            self.take("_")
            return Node("labelled", (below, self.inside("expression")))
        if token.startswith(r"\begin"):
            return self.environment()
        return self.scripted(self.atom())

    def _argument(self) -> Node:
        """The argument of a command: a group, or one digit or letter."""
        return self.inside("expression", self.group())

    def atom(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Node("number", (token.text,))
        if token.kind == "differential":
            return Node("name", (f"d{self._name(self.take())}",))
        if token.text in BRACKETS:
            return self.bracket(token.text)
        if token.text in ("|", r"\lvert"):
            return self._closed("absolute", token.text)
        if token.text in (r"\|", r"\lVert"):
            return self._closed("norm", token.text)
        if token.text in ACCENTS:
            return Node("name", (f"{token.text[1:]} {spelled(self.group())}",))
        return Node("name", (self._name(token),))

    def _name(self, token: Token) -> str:
        if token.kind == "word" or re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", token.text):
            return token.text.removeprefix("\\")
        raise NotRead(f"{token.text} is no name, in {spelled(self.pieces)}")

    def _closed(self, kind: str, opening: str) -> Node:
        return Node(kind, (self._until(CLOSING[opening]),))

    def _until(self, *closing: str) -> Node:
        """An expression up to what ends it, which is taken too."""
        self.open += closing
        value = self.expression() if "d" not in closing else self.body()
        del self.open[-len(closing) :]
        self.take(*closing)
        return value

    def bracket(self, opening: str) -> Node:
        """A value in brackets; a list, if there are commas; [a > b], 1 where it is so and 0 elsewhere."""
        items = self.cells()
        self.take(CLOSING[opening])
        if len(items) > 1:
            return Node("row", tuple(item[0] for item in items))
        return Node("group", (items[0][0],)) if len(items[0]) == 1 else Node("truth", (items[0],))

    def interval(self) -> Node:
        opening = self.take(*BRACKETS).text
        low = self.expression()
        self.take(",")
        high = self.expression()
        return Node("interval", (opening, low, high, self.take(")", "]").text))

    def scripted(self, base: Node) -> Node:
        """A name, call or bracket with what stands at its feet and its shoulders, and the calls behind it."""
        primes, below, above = "", [], []
        while True:
            if self.took("'"):
                primes += "'"
            elif self.peek() == "_" and not below:
                self.take()
                below = self.group()
            elif self.peek() == "^" and not above:
                self.take()
                above = self.group()
            elif (
                self.peek() == "(" and base.kind == "name" and {base.parts[0], base.parts[0] + primes} & self.functions
            ):
                self.take()
                base = Node(
                    "call", (self._script(base, primes, below, above), self.arguments(")", base.parts[0] == "KL"))
                )
                primes, below, above = "", [], []
            elif self.peek() == "[" and base == Node("name", ("E",)):
                self.take()
                base = Node("call", (base, self.arguments("]")))
            elif self.peek() == r"\lvert" and base == Node("name", ("E",)):  # E|a| is the mean of |a|
                base = Node("call", (base, (self.atom(),)))
            else:
                return self._script(base, primes, below, above)

    def arguments(self, closing: str, divergence: bool = False) -> tuple[Any, ...]:
        """Expressions, with the `|` or `‖` between two of them as a word of its own."""
        self.open += [r"\|"] * divergence
        found: list[Any] = [self.expression()]
        while self.peek() != closing:
            separator = self.take(",", r"\mid", r"\|").text
            found += ["|"] * (separator == r"\mid") + [self.expression()]
        self.take(closing)
        del self.open[len(self.open) - divergence :]
        return tuple(found)

    def _script(self, base: Node, primes: str, below: list[Token], above: list[Token]) -> Node:
        if not (primes or below or above):
            return base
        indices = self._try("indices", below)
        power = self._try("expression", above)
        return Node("scripted", (base, primes, spelled(below), indices, spelled(above), power))

    def _try(self, rule: str, pieces: list[Token]) -> Any:
        """What a script says, if it is an expression; else it is a part of the name, and bound with it."""
        try:
            return self.inside(rule, pieces) if pieces else None
        except NotRead:
            return None

    def indices(self) -> list[Node]:
        """The indices of a subscript: `ij` are two, `t-1` is one, a dot stands for all."""
        if any(self.peek(n) in ("+", "-") for n in range(len(self.pieces))):
            return [self.expression()]
        found = []
        while self.peek() != END:
            if self.took(r"\cdot"):
                found.append(Node("all", ()))
            elif not self.took(","):
                found.append(self.factor())
        return found

    # ---- sums, functions, derivatives --------------------------------------------------------------------------------

    def big(self) -> Node:
        r"""`\sum_i`, `\sum_{j=1}^K`, `\sum_{i \in S}`, `\prod`, `\max_j`, `\arg\max_s`; `\max(a, b)`."""
        operator = self.take().text
        if operator == r"\arg":
            self.take(r"\max")
            operator = r"\argmax"
        if self.peek() == "(":
            self.take()
            return self.scripted(Node("call", (Node("name", (operator[1:],)), self.arguments(")"))))
        self.take("_")
        over, upper = self.inside("over"), self.inside("expression") if self.took("^") else None
        return Node("over", (operator[1:], over, upper, self.body()))

    def over(self) -> Any:
        """The index under a sum: names, or a name and where it starts, or a name and its set, or a name and what
        it is not, or a range in words."""
        if self.peek() == "text":
            return ("words", self.take().text.strip())
        chain = self.chain()
        names = [chain[0].parts[0]] if chain[0].kind == "name" else []
        while self.took(","):
            names.append(self.take().text)
        if len(chain) == 1:
            return ("indices", names)
        if chain[1::2] == ["≤", "≤"]:
            return ("between", chain[2].parts[0], chain[0], chain[4])
        if len(chain) != 3 or chain[1] not in STARTS or not names:
            raise NotRead(f"{spelled(self.pieces)} is no range of an index")
        return (STARTS[chain[1]], names[0], chain[2])

    def function(self) -> Node:
        name = self.take().text[1:]
        if self.peek() in BRACKETS:
            return Node("function", (name, self.atom()))
        if self.at < len(self.pieces) and self.pieces[self.at].kind == "number":
            return Node("function", (name, self.body()))
        return Node("function", (name, self.factor()))

    def limit(self) -> Node:
        self.take(r"\lim")
        self.take("_")
        return Node("limit", (self.inside("over"), self.body()))

    def integral(self) -> Node:
        self.take(r"\int")
        self.take("_")
        low = self._argument()
        self.take("^")
        high = self._argument()
        body = self._until("differential", "d")
        return Node("integral", (self._name(self.take()), low, high, body))

    def fraction(self) -> Node:
        self.take()
        start = self.at
        if self.peek() == "{":
            above, below = self.group(), self.group()
            if above[:1] and above[0].text in (r"\partial", "d") and below[0].text == above[0].text and len(below) > 1:
                return self.derivative(above, below, above[0].text)
            self.at = start
        return Node("divide", (self._argument(), self._argument()))

    def derivative(self, above: list[Token], below: list[Token], sign: str) -> Node:
        parser = type(self)(below, self.functions)
        targets = []
        while parser.peek() != END:
            if parser.take().text != sign:
                raise NotRead(f"{spelled(below)} is no differential")
            target = parser.function() if parser.peek() == r"\log" else parser.factor()
            if target.kind == "scripted" and target.parts[4] == "2":
                base, primes, name, indices, _, _ = target.parts
                target = Node("scripted", (base, primes, name, indices, "", None)) if name or primes else base
                targets.append(target)
            targets.append(target)
        parser = type(self)(above[1:], self.functions)
        order = int(parser.take().text) if parser.took("^") else 1
        if order != len(targets):
            raise NotRead(f"{spelled(above)} is of another order than {spelled(below)}")
        if parser.peek() != END:
            return Node("derivative", (self.inside("expression", parser.pieces[parser.at :]), targets))
        return Node("derivative", (self.body(), targets))

    def environment(self) -> Node:
        name = self.take().text[len(r"\begin{") : -1]
        rows, start, depth = [], self.at, 0
        while True:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            if token.text in (r"\\", rf"\end{{{name}}}"):
                rows.append(self.pieces[start : self.at - 1])
                start = self.at
            if token.text == rf"\end{{{name}}}":
                return Node(name, tuple(self.inside("cells", row) for row in rows))

    def cells(self) -> list[list[Any]]:
        """Chains with commas between them."""
        found = [self.chain()]
        while self.took(","):
            found.append(self.chain())
        return found
