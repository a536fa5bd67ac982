"""Words to server blocks, as CoreDNS does it (coredns/caddy caddyfile/parse.go), but with all errors at once.

    file      = { snippet | block }
    block     = key { [","] key } ( "{" { directive } "}" | { directive } end of file )
    snippet   = "(" name ")" "{" words "}"
    directive = name { argument } [ "{" { directive } "}" ]     a line, its braces may open on the next one
    import    = "import" ( snippet's name | file | pattern )    where a block or a directive may begin

An import is replaced by the words it names. Those remember through which imports they came, so that a cycle is found
where it closes. After an error the parser goes on at the next line or block: what follows is still checked.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from shardns.corefile.lexer import Word, lex
from shardns.corefile.model import Directive, ServerBlock, Token
from shardns.errors import ConfigError, Position, shown, with_reasons

MAX_IMPORTS = 10_000  # as CoreDNS limits snippets; it allows 100,000 files, which no node needs
MAX_WORDS = 500_000  # after all imports: a few hundred times the largest Corefile seen
MAX_DEPTH = 32  # of braces in braces; CoreDNS's own directives need three
MAX_ERRORS = 100  # enough to work on; a binary file would give thousands

# Files that a path or a pattern with one "*" names: (name, text), sorted by name. A pattern may name none.
# Raises OSError or UnicodeError for a file that cannot be read.
Reader = Callable[[str], Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class _Origin:
    """The import that brought a word, and the one that brought that import."""

    name: str
    parent: _Origin | None

    def since(self, name: str) -> list[str]:
        """The imports from that of name on through which the word came; none if it did not come through that."""
        found: list[str] = []
        origin: _Origin | None = self
        while origin is not None:
            found.insert(0, origin.name)
            if origin.name == name:
                return found
            origin = origin.parent
        return []


class _Stop(Exception):  # noqa: N818 - not an error: the errors are in the list
    """Parsing on makes no sense."""


def parse(
    text: str,
    *,
    file: str,
    env: Mapping[str, str],
    read: Reader,
    notes: list[ConfigError] | None = None,
) -> tuple[ServerBlock, ...]:
    """The server blocks of a Corefile, in order.

    file   its name, for messages and as the base of relative imports
    env    variables for {$NAME}
    read   gives the files of an import
    notes  takes what deserves a warning (a pattern that matches no file); None drops it

    Raises ConfigErrors with every fault of the text and of what it imports, and nothing else.
    """
    parser = _Parser(file, env, read, [] if notes is None else notes)
    blocks = parser.run(text)
    if parser.errors:
        raise with_reasons(parser.errors, parser.notes)
    return tuple(blocks)


class _Parser:
    """State of one parse. `rest` holds the words to come, the next one last, so that imports are pushed cheaply."""

    def __init__(self, file: str, env: Mapping[str, str], read: Reader, notes: list[ConfigError]) -> None:
        self.file = file
        self.env = env
        self.read = read
        self.notes = notes
        self.errors: list[ConfigError] = []
        self.rest: list[tuple[Word, _Origin | None]] = []
        self.snippets: dict[str, list[Word]] = {}
        self.glued: dict[str, Token] = {}  # the last word that ended in this brace
        self.imports = 0
        self.words = 0

    def run(self, text: str) -> list[ServerBlock]:
        """All blocks; errors are in self.errors."""
        blocks: list[ServerBlock] = []
        try:
            self._push(self._lex(text, self.file), None)
            while self.rest:
                block = self._block()
                if block is not None:
                    blocks.append(block)
        except _Stop:
            pass
        return blocks

    def _lex(self, text: str, file: str) -> list[Word]:
        """The words of a file."""
        return lex(text, file, self.env, self._fail, self.notes.append)

    def _fail(self, error: ConfigError) -> None:
        """Note an error; give up when there are too many."""
        self.errors.append(error)
        if len(self.errors) >= MAX_ERRORS:
            raise _Stop

    def _push(self, words: Sequence[Word], origin: _Origin | None) -> None:
        """Put words in front of the rest."""
        self.words += len(words)
        if self.words > MAX_WORDS:
            at = words[0].token.at
            self._fail(ConfigError(at, f"more than {MAX_WORDS} words", hint="imports multiply each other"))
            raise _Stop
        self.rest.extend((word, origin) for word in reversed(words))

    def _pop(self) -> Word:
        """The next word."""
        word = self.rest.pop()[0]
        if word.glued:
            self.glued[word.glued] = word.token
        return word

    @property
    def _next(self) -> Word | None:
        """The next word, left where it is; None at the end."""
        return self.rest[-1][0] if self.rest else None

    # ---- blocks

    def _block(self) -> ServerBlock | None:
        """The next block; None for a snippet, for nothing, and for what is broken."""
        keys = self._keys()
        opening = self._next
        braced = opening is not None and opening.mark == "{"
        if braced:
            self._pop()
        if len(keys) == 1 and keys[0].text.startswith("(") and keys[0].text.endswith(")"):
            self._snippet(keys[0], opening if braced else None)
            return None
        if not keys and opening is None:
            return None
        if not keys and opening is not None:
            self._fail(ConfigError(opening.token.at, "server block without a zone", hint='"." serves all names'))
        directives = self._directives(opening if braced else None, 0)
        return ServerBlock(tuple(keys), directives) if keys else None

    def _keys(self) -> list[Token]:
        """The keys of a block, up to its brace or the end of their line."""
        keys: list[Token] = []
        comma: Token | None = None
        while (word := self._next) is not None:
            if word.mark == "import" and word.first:
                self._import()
                continue
            if word.mark == "{" or (keys and word.first and comma is None):
                break
            self._pop()
            if word.mark == "}":
                self._unexpected(word)
                continue
            keys.extend(_split_key(word.token))
            comma = word.token if word.token.text.endswith(",") else None
        if comma is not None:
            self._fail(ConfigError(comma.at, "another zone is expected after the comma", got=comma.text))
        return keys

    def _snippet(self, key: Token, opening: Word | None) -> None:
        """Keep the words between the braces for later."""
        name = key.text[1:-1]
        if opening is None:
            self._fail(ConfigError(key.at, f"snippet {key.text} needs braces", hint=f"{key.text} {{ … }}"))
            return
        if not name:
            self._fail(ConfigError(key.at, "snippet without a name"))
        if name in self.snippets:
            self._fail(ConfigError(key.at, f"snippet {key.text} is already defined"))
        words: list[Word] = []
        depth = 1
        while self.rest:
            word = self._pop()
            depth += {"{": 1, "}": -1}.get(word.mark, 0)
            if depth == 0:
                self.snippets.setdefault(name, words)
                return
            words.append(word)
        self._unclosed(opening)

    # ---- braces

    def _unexpected(self, closing: Word) -> None:
        """A brace closes what is not open."""
        hint = self._why_glued("{") or "no block is open here"
        self._fail(ConfigError(closing.token.at, 'unexpected "}"', hint=hint))

    def _unclosed(self, opening: Word) -> None:
        """A brace is open at the end of the file."""
        hint = self._why_glued("}") or "this brace, or one inside it, is never closed"
        self._fail(ConfigError(opening.token.at, 'missing "}"', hint=hint))

    def _why_glued(self, brace: str) -> str:
        """The likely reason for a brace too few: one that is part of a word."""
        token = self.glued.get(brace)
        return f"the brace of {shown(token.text)} in line {token.at.line} needs a space before it" if token else ""

    # ---- directives

    def _directives(self, opening: Word | None, depth: int) -> tuple[Directive, ...]:
        """The lines up to the brace that closes `opening`, or to the end of the file when there is none."""
        if depth > MAX_DEPTH and opening is not None:
            self._fail(ConfigError(opening.token.at, f"more than {MAX_DEPTH} braces inside each other"))
            raise _Stop
        found: list[Directive] = []
        while (word := self._next) is not None:
            if word.mark == "import":
                self._import()
                continue
            self._pop()
            if word.mark == "}":
                if opening is not None:
                    return tuple(found)
                self._unexpected(word)
            elif word.mark == "{":
                self._fail(ConfigError(word.token.at, 'unexpected "{"', hint="a directive must stand before it"))
                self._directives(word, depth + 1)
            else:
                found.append(self._directive(word, depth))
        if opening is not None:
            self._unclosed(opening)
        return tuple(found)

    def _directive(self, name: Word, depth: int) -> Directive:
        """The directive that begins with `name`."""
        args: list[Token] = []
        body: tuple[Directive, ...] = ()
        while (word := self._next) is not None:
            if word.mark == "{":
                self._pop()
                body = self._directives(word, depth + 1)
                break
            if word.first or word.mark == "}":
                break
            args.append(self._pop().token)
        return Directive(name.token.text, tuple(args), body, name.token.at)

    # ---- imports

    def _import(self) -> None:
        """Replace "import NAME" by the words it stands for."""
        word, origin = self.rest.pop()
        args: list[Token] = []
        while (following := self._next) is not None and not following.first and following.mark not in {"{", "}"}:
            args.append(self._pop().token)
        if len(args) != 1 or not args[0].text:
            at = args[1].at if len(args) > 1 else args[0].at if args else word.token.at
            self._fail(ConfigError(at, "import takes one snippet, file or pattern"))
            return
        self.imports += 1
        if self.imports > MAX_IMPORTS:
            self._fail(ConfigError(word.token.at, f"more than {MAX_IMPORTS} imports"))
            raise _Stop
        name = args[0]
        if name.text in self.snippets:
            self._splice(name, f"({name.text})", self.snippets[name.text], origin)
        else:
            self._import_files(name, origin)

    def _import_files(self, name: Token, origin: _Origin | None) -> None:
        """Replace an import by the words of the files that match."""
        path = posixpath.join(posixpath.dirname(name.at.file), name.text)
        if path.count("*") > 1 or path.count("?") > 1 or ("[" in path and "]" in path):
            hint = "CoreDNS allows no more, as patterns with many of them take too long"
            self._fail(ConfigError(name.at, "a pattern to import may hold one *", got=name.text, hint=hint))
            return
        try:
            files = self.read(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            hint = "if it is a snippet, define it above" if "/" not in name.text else ""
            self._fail(ConfigError(name.at, f"cannot import {name.text}: {reason}", hint=hint))
            return
        if not files:
            self.notes.append(ConfigError(name.at, f"no file matches {name.text}", hint="nothing is imported here"))
        for file, text in reversed(files):
            self._splice(name, posixpath.normpath(file), self._lex(text, file), origin)

    def _splice(self, at: Token, name: str, words: Sequence[Word], origin: _Origin | None) -> None:
        """Push the words of one import, unless they came through it themselves."""
        circle = origin.since(name) if origin is not None else []
        if circle or name == posixpath.normpath(self.file):
            hint = f"{', '.join([*circle, name])}: take one of them out"
            self._fail(ConfigError(at.at, f"import of {at.text} leads back to itself", hint=hint))
            return
        if words:
            head = replace(words[0], first=True)
            self._push([head, *words[1:]], _Origin(name, origin))


def _split_key(token: Token) -> list[Token]:
    """The keys of one word, which commas may divide.

    DIFFERS: CoreDNS takes "a,b" for one zone of that name.
    """
    found: list[Token] = []
    offset = 0
    for part in token.text.split(","):
        if part:
            at = token.at
            found.append(Token(part, Position(at.file, at.line, at.column + offset)))
        offset += len(part) + 1
    return found
