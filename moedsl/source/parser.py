"""Text to syntax tree: the only file that knows lark.

An error is reported once; reading goes on behind it at the next statement or block, so that one
run reports every independent error. The technique is yacc's: unwind the parser's stack to where
the grammar takes an ERROR, feed one for the skipped text, and continue.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lark
from lark import Lark, Token, UnexpectedCharacters, UnexpectedToken
from lark.lexer import PatternStr

from moedsl.source import syntax
from moedsl.source.span import Source, Span
from moedsl.source.syntax_errors import (
    bad_number,
    expected,
    huge_number,
    long_name,
    not_ascii,
    stray_character,
    too_deep,
    too_long,
    too_many,
    unclosed_block,
    unexpected_token,
)
from moedsl.source.tree import TreeBuilder, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moedsl.source.diagnostic import Diagnostic

GRAMMAR = Path(__file__).parent.parent / "grammar" / "moe.lark"

BRACKET_LIMIT = 64
"""Most brackets that may be open at once."""
STATEMENT_LIMIT = 300
"""Most tokens of one statement; bounds the height of every syntax tree."""
NAME_LIMIT = 128
"""Most characters of a name: names become parts of file and symbol names."""
ERROR_LIMIT = 50
"""Reading stops after so many errors."""
CONTINUES = {"PLUS", "MINUS", "STAR", "SLASH", "COMMA", "PLUS_EQUAL"}
"""A line that ends in one of these goes on in the next one."""

_NUMBER = re.compile(r"[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+")
_LARGEST = 3.4028235677973366e38  # rounds to infinity in f32 from here on
_COMMENT = re.compile(r"#[^\n]*")
_REST_OF_STATEMENT = re.compile(r"(?:#[^\n]*|[^#;\n}])*")
_REST_OF_HEADING = re.compile(r"[^#{};\n]*")
_NEXT_BLOCK = re.compile(r"^[ \t]*(?=(?:kernel|schedule)\b)", re.MULTILINE)
_BLOCK_HEADING = re.compile(r"(?:kernel|schedule)\s+\w+[^\n;{}]*\{")


class _Callbacks:
    """What lark calls on a reduction: the tree builder's methods, children spread out."""

    def __init__(self, builder: TreeBuilder) -> None:
        self._builder = builder

    def __getattr__(self, rule: str) -> Callable[[list[Any]], Any]:
        method = getattr(self._builder, rule)
        return lambda children: method(*children)


def _cache_file(grammar: str) -> Path | None:
    """Where the parse tables for ``grammar`` are kept; None where nothing can be kept."""
    from platformdirs import user_cache_path

    root = os.environ.get("MOEDSL_CACHE_DIR")
    version = f"{lark.__version__}-{sys.version_info[0]}{sys.version_info[1]}"
    name = f"moe-{version}-{sha256(grammar.encode()).hexdigest()[:16]}.grammar"
    try:
        folder = (Path(root) if root else user_cache_path("moedsl", appauthor=False)) / "grammar"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder / name


def _open(grammar: str, cache: Path | None) -> Lark:
    return Lark(
        grammar,
        start="file",
        parser="lalr",
        lexer="contextual",
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=_Callbacks(TreeBuilder()),
        cache=str(cache) if cache else False,
    )


@cache
def _parser() -> Lark:
    grammar = GRAMMAR.read_text("utf-8")
    path = _cache_file(grammar)
    if path is None or path.exists():
        return _open(grammar, path)
    # Written under a private name first: other processes see the whole file or none.
    private = path.with_suffix(f".{os.getpid()}")
    parser = _open(grammar, private)
    try:
        private.replace(path)
    except OSError:
        private.unlink(missing_ok=True)
    return parser


def parse(source: Source) -> tuple[syntax.File, list[Diagnostic]]:
    """The syntax tree of ``source`` and everything wrong with its syntax. Never raises.

    What could not be read is in the tree as :class:`syntax.Broken`.
    """
    reader = _Reader(source)
    file = reader.read()
    return file, reader.diagnostics


class _GivenUpError(Exception):
    """The statement at hand is already reported; go on behind ``position``."""

    def __init__(self, position: int) -> None:
        self.position = position


class _Reader:
    """One parse: feeds lark token by token and recovers from errors."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.tokens: list[syntax.Token] = []
        # Typed Any because lark leaves most of this class unannotated.
        self.lark: Any = _parser().parse_interactive(source.text)
        self.brackets: list[syntax.Token] = []
        self.block: syntax.Token | None = None
        self.statement: list[syntax.Token] = []
        self.newline: Token | None = None

    def read(self) -> syntax.File:
        """Everything up to the end of the text."""
        while len(self.diagnostics) < ERROR_LIMIT:
            try:
                for token in self._lex():
                    self._take(token)
                    if len(self.diagnostics) >= ERROR_LIMIT:
                        break
                else:
                    return self._finish()
            except UnexpectedToken as error:
                if self._goes_on(error.token):
                    continue
                self._unexpected(error.token)
                self._recover(error.token.start_pos or 0)
            except UnexpectedCharacters as error:
                position = error.pos_in_stream or 0
                self.diagnostics.append(stray_character(self.source, position))
                self._recover(position)
            except _GivenUpError as error:
                self._recover(error.position)
        self.diagnostics.append(too_many(self.source, ERROR_LIMIT))
        self._leave_block()
        return self._finish()

    def _finish(self) -> syntax.File:
        size = len(self.source.text)
        if self.block is not None:
            self.diagnostics.append(unclosed_block(self.source, self.block.span, Span(size, size)))
            self._leave_block()
        file: syntax.File = self.lark.feed_token(Token("$END", "", start_pos=size))
        comments = [
            syntax.Token("COMMENT", match[0].rstrip(), Span(*match.span()))
            for match in _COMMENT.finditer(self.source.text)
        ]
        tokens = sorted(self.tokens + comments, key=lambda token: token.span.start)
        return syntax.File(file.blocks, tuple(tokens), file.broken)

    def _take(self, token: Token) -> None:
        if token.type == "_END":
            self._take_end(token)
            return
        taken = syntax.Token(token.type, str(token), span_of(token))
        if self._opens_block(taken):
            self._close_block(taken)
            return
        self.lark.feed_token(self._checked(token))
        self.tokens.append(taken)
        self.newline = None
        match token.type:
            case "LBRACE":
                self.block = taken
                self.statement = []
            case "RBRACE":
                self.block = None
                self.statement = []
            case _:
                self.statement.append(taken)
                self._follow_brackets(taken)
                self._limit(taken)

    def _take_end(self, token: Token) -> None:
        if not self._goes_on(token):
            self.lark.feed_token(token)
            self.statement = []

    def _goes_on(self, token: Token) -> bool:
        """Whether ``token`` is a newline that ends no statement.

        A line goes on in the next one while a bracket is open or its last sign needs more.
        """
        if token != "\n":
            return False
        if self.brackets or (self.statement and self.statement[-1].kind in CONTINUES):
            self.newline = token
            return True
        return False

    def _follow_brackets(self, token: syntax.Token) -> None:
        if token.kind in ("LPAR", "LSQB"):
            self.brackets.append(token)
        elif token.kind in ("RPAR", "RSQB"):
            self.brackets.pop()

    def _limit(self, token: syntax.Token) -> None:
        if len(self.brackets) > BRACKET_LIMIT:
            self.diagnostics.append(too_deep(self.source, token.span, BRACKET_LIMIT))
            raise _GivenUpError(token.span.start)
        if len(self.statement) > STATEMENT_LIMIT:
            self.diagnostics.append(too_long(self.source, token.span, STATEMENT_LIMIT))
            raise _GivenUpError(token.span.start)

    def _checked(self, token: Token) -> Token:
        """``token``, or a stand-in for a name or number that is reported."""
        span, text = span_of(token), str(token)
        if token.type == "NAME":
            if not text.isascii():
                self.diagnostics.append(not_ascii(self.source, span, text))
            elif len(text) > NAME_LIMIT:
                self.diagnostics.append(long_name(self.source, span, NAME_LIMIT))
        elif token.type == "NUMBER":
            if not _NUMBER.fullmatch(text):
                self.diagnostics.append(bad_number(self.source, span, text))
            elif len(text) > NAME_LIMIT or float(text) >= _LARGEST:
                self.diagnostics.append(huge_number(self.source, span))
            else:
                return token
            return token.update(value="1")
        return token

    def _opens_block(self, token: syntax.Token) -> bool:
        return (
            self.block is not None
            and not self.statement
            and _BLOCK_HEADING.match(self.source.text, token.span.start) is not None
        )

    def _close_block(self, token: syntax.Token) -> None:
        """A new block begins inside the open one: supply the missing brace before it."""
        assert self.block is not None
        self.diagnostics.append(unclosed_block(self.source, self.block.span, token.span))
        self.lark.feed_token(Token("RBRACE", "}", start_pos=token.span.start))
        self.block = None
        self._seek(token.span.start)

    def _unexpected(self, token: Token) -> None:
        literals = {
            terminal.name: terminal.pattern.value
            for terminal in _parser().terminals
            if isinstance(terminal.pattern, PatternStr)
        }
        self.diagnostics.append(
            unexpected_token(
                self.source,
                syntax.Token(token.type, str(token), span_of(token)),
                expected(self._accepted(), literals),
                self.statement,
                self.brackets[-1] if self.brackets else None,
            )
        )

    def _recover(self, position: int) -> None:
        """Replace the statement, heading or block that holds ``position`` by an ERROR."""
        if self.brackets and self.newline is not None and self.newline.start_pos is not None:
            # The bracket was forgotten on an earlier line; this line is likely sound.
            position = self.newline.start_pos
        self._unwind("ERROR")
        text = self.source.text
        accepted = self._accepted()
        start = self.statement[0].span.start if self.statement else position
        if "KERNEL" not in accepted and "RBRACE" in accepted:
            self._skip(start, _matched(_REST_OF_STATEMENT, text, position))
            return
        end = _matched(_REST_OF_HEADING, text, position)
        if "KERNEL" not in accepted and text[end : end + 1] == "{":
            self._skip(start, end)
            return
        self._unwind("KERNEL")
        following = _NEXT_BLOCK.search(text, position)
        self.block = None
        self._skip(start, following.end() if following else len(text))

    def _skip(self, start: int, end: int) -> None:
        self.lark.feed_token(Token("ERROR", self.source.text[start:end], start_pos=start))
        self.brackets, self.statement, self.newline = [], [], None
        self._seek(end)

    def _leave_block(self) -> None:
        self._unwind("KERNEL")
        self.lark.feed_token(Token("ERROR", "", start_pos=len(self.source.text)))

    def _unwind(self, terminal: str) -> None:
        """Drop what was read until ``terminal`` may follow."""
        state = self.lark.parser_state
        # A choice may be a reduction that ends in an error; only accepts() tries it out.
        while terminal not in self.lark.choices() or terminal not in self._accepted():
            state.state_stack.pop()
            state.value_stack.pop()

    def _lex(self) -> Iterator[Token]:
        tokens: Iterator[Token] = self.lark.lexer_thread.lex(self.lark.parser_state)
        return tokens

    def _accepted(self) -> set[str]:
        accepted: set[str] = self.lark.accepts()
        return accepted

    def _seek(self, position: int) -> None:
        self.lark.lexer_thread.state.line_ctr.char_pos = position


def _matched(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
