"""Server blocks out of text: what is accepted, what is refused and where, and that nothing else can happen."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardns.corefile import Directive, ServerBlock, canonical, parse, parser
from shardns.errors import ConfigError, ConfigErrors


class Files:
    """A file system in a dict, read as files.read reads the real one."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("__", "/").replace("_", "."): text for name, text in files.items()}

    def __call__(self, path: str) -> list[tuple[str, str]]:
        """Files that match."""
        if "*" in path:
            return [(n, t) for n, t in sorted(self.files.items()) if fnmatch.fnmatch(n, path)]
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return [(path, self.files[path])]


def blocks(text: str, **files: str) -> tuple[ServerBlock, ...]:
    """The parsed blocks."""
    return parse(text, file="etc/Corefile", env={"ZONE": "example.org"}, read=Files(**files))


def errors(text: str, **files: str) -> list[str]:
    """The errors, as line:column: message."""
    with pytest.raises(ConfigErrors) as caught:
        blocks(text, **files)
    return [f"{e.at.line}:{e.at.column}: {e.message}" for e in caught.value.errors if e.at is not None]


def shape(directives: tuple[Directive, ...]) -> list[object]:
    """Directives as nested lists of texts."""
    return [[d.name, *(a.text for a in d.args), *([shape(d.body)] if d.body else [])] for d in directives]


def shapes(text: str, **files: str) -> list[object]:
    """All blocks as nested lists of texts."""
    return [[[key.text for key in block.keys], *shape(block.directives)] for block in blocks(text, **files)]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", []),
        ("# nothing", []),
        (".", [[["."]]]),
        (". {\n}", [[["."]]]),
        (".:53 {\n errors\n cache 30\n}", [[[".:53"], ["errors"], ["cache", "30"]]]),
        ("a b, c {\n}\nd,\ne {\n}", [[["a", "b", "c"]], [["d", "e"]]]),
        ("a,b ,c {\n}", [[["a", "b", "c"]]]),
        ("a\n{\n log\n}", [[["a"], ["log"]]]),
        ("a\nlog\nerrors", [[["a"], ["log"], ["errors"]]]),
        ("a { log }", [[["a"], ["log"]]]),
        ("a {\n cache {\n  success 1 2\n  x { y }\n }\n log\n}", None),
        ("a {\n cache 5\n {\n  success 1\n }\n}", [[["a"], ["cache", "5", [["success", "1"]]]]]),
        ("{$ZONE}:{$NOT_SET}53 {\n}", [[["example.org:53"]]]),
        ('"" a {\n}', [[["a"]]]),
        ('a {\n log "{" "}"\n}', [[["a"], ["log", "{", "}"]]]),
        ("a {\n} b {\n}", [[["a"]], [["b"]]]),
        ("a {\n log }\nb {\n}", [[["a"], ["log"]], [["b"]]]),
    ],
)
def test_blocks(text, wanted):
    """Keys, directives, arguments and bodies are told apart as CoreDNS does it."""
    if wanted is None:
        wanted = [[["a"], ["cache", [["success", "1", "2"], ["x", [["y"]]]]], ["log"]]]
    assert shapes(text) == wanted


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("(s) {\n errors\n log\n}\na {\n import s\n cache\n}", [[["a"], ["errors"], ["log"], ["cache"]]]),
        ("(s) { errors }\na {\n log\n import s\n cache\n}", [[["a"], ["log"], ["errors"], ["cache"]]]),
        ("(s) {\n success 1\n}\na {\n cache {\n  import s\n }\n}", [[["a"], ["cache", [["success", "1"]]]]]),
        ("(s) {\n b {\n  log\n }\n}\nimport s", [[["b"], ["log"]]]),
        ("(s) {\n}\na {\n import s\n log\n}", [[["a"], ["log"]]]),
        ("(t) {\n log\n}\n(s) {\n import t\n}\na {\n import s\n import s\n}", [[["a"], ["log"], ["log"]]]),
    ],
)
def test_snippets(text, wanted):
    """A snippet's words stand where it is imported, at any level."""
    assert shapes(text) == wanted


def test_import_is_relative_to_the_importing_file():
    """A file in a folder imports its neighbours."""
    found = shapes("import sub/a.server", etc__sub__a_server="a {\n import b.part\n}", etc__sub__b_part="log\nerrors")
    assert found == [[["a"], ["log"], ["errors"]]]


def test_import_pattern():
    """A pattern imports all files that match, in the order of their names."""
    found = shapes(
        "import conf/*.server\n. {\n import conf/*.override\n}",
        etc__conf__b_server="b {\n}",
        etc__conf__a_server="a {\n}",
        etc__conf__x_override="log",
    )
    assert found == [[["a"]], [["b"]], [["."], ["log"]]]


def test_pattern_without_match():
    """A pattern that matches nothing is worth a note, no error."""
    notes: list[ConfigError] = []
    parse(". {\n import *.none\n}", file="Corefile", env={}, read=Files(), notes=notes)
    assert [str(note) for note in notes] == ["Corefile:2:9: no file matches *.none (nothing is imported here)"]


def test_places_in_imported_files():
    """A word of an imported file names that file."""
    (block,) = blocks(". {\n import part\n}", etc__part="\n  log")
    assert str(block.directives[0].at) == "etc/part:2:3"
    assert str(block.at) == "etc/Corefile:1:1"


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("}", ['1:1: unexpected "}"']),
        ("{\n log\n}", ["1:1: server block without a zone"]),
        ("a {", ['1:3: missing "}"']),
        ("a {\n cache {\n log\n}", ['1:3: missing "}"']),
        ("a {\n cache {\n", ['1:3: missing "}"', '2:8: missing "}"']),
        ("a {\n}\n}", ['3:1: unexpected "}"']),
        ("a\nlog\n}\nerrors", ['3:1: unexpected "}"']),
        ("a {\n {\n log\n }\n}", ['2:2: unexpected "{"']),
        ("a, {\n}", ['1:1: another zone is expected after the comma: got "a,"']),
        ("a,", ['1:1: another zone is expected after the comma: got "a,"']),
        ("(s)\nlog", ["1:1: snippet (s) needs braces"]),
        ("() {\n}", ["1:1: snippet without a name"]),
        ("(s) {\n}\n(s) {\n}", ["3:1: snippet (s) is already defined"]),
        ("(s) {\n log", ['1:5: missing "}"']),
        ("a {\n import\n}", ["2:2: import takes one snippet, file or pattern"]),
        ("a {\n import b c\n}", ["2:11: import takes one snippet, file or pattern"]),
        ('a {\n import ""\n}', ["2:9: import takes one snippet, file or pattern"]),
        ("a {\n import b/*/*.c\n}", ['2:9: a pattern to import may hold one *: got "b/*/*.c"']),
        ("a {\n import ?x?\n}", ['2:9: a pattern to import may hold one *: got "?x?"']),
        ("a {\n import ?x\n}", ["2:9: cannot import ?x: No such file or directory"]),
        ("a {\n import [ab]\n}", ['2:9: a pattern to import may hold one *: got "[ab]"']),
        ("a {\n import no\n}", ["2:9: cannot import no: No such file or directory"]),
        ("(s) {\n import s\n}\na {\n import s\n}", ["2:9: import of s leads back to itself"]),
        ("import Corefile", ["1:8: cannot import Corefile: No such file or directory"]),
        ('a {\n log "x\n}', ["2:6: quote is never closed", '1:3: missing "}"']),
    ],
)
def test_errors(text, wanted):
    """Each fault is reported at its own place."""
    assert sorted(errors(text)) == sorted(wanted)


def test_all_errors_together():
    """One fault does not hide the next."""
    text = "}\na {\n import no\n {\n }\n}\nb, {\n}\nimport none"
    assert [line.split(":")[0] for line in errors(text)] == ["1", "3", "4", "7", "9"]


def test_cycles():
    """Files that import each other, or themselves, are refused where the circle closes."""
    found = errors("import a", etc__a="import b", etc__b="import a")
    assert found == ["1:8: import of a leads back to itself"]
    assert errors("import Corefile", etc__Corefile=".") == ["1:8: import of Corefile leads back to itself"]


def test_multiplying_imports():
    """Imports that multiply end at a limit, not in a full memory."""
    text = "(s0) {\n log\n}\n" + "".join(f"(s{n}) {{\n{f' import s{n - 1}{chr(10)}' * 10}}}\n" for n in range(1, 7))
    found = errors(text + "a {\n import s6\n}")
    assert found[0].endswith(f"more than {parser.MAX_IMPORTS} imports")


def test_long_imports(monkeypatch):
    """So do imports of many words."""
    monkeypatch.setattr(parser, "MAX_WORDS", 1000)
    text = "(s) {\n" + "log " * 600 + "\n}\na {\n import s\n import s\n}"
    assert errors(text)[0].endswith("more than 1000 words")


def test_deep_braces():
    """Braces may be nested, but not without end."""
    assert shapes("a {\n" + "x {\n" * 31 + "y\n" + "}\n" * 32)
    assert blocks("a {\n" + "x {\n" * 32 + "y\n" + "}\n" * 33)
    assert errors("a {\n" + "x {\n" * 33 + "y\n" + "}\n" * 34)[0].endswith("braces inside each other")
    assert errors("a " + "x {\n" * 5000)[0].endswith("more than 32 braces inside each other")


def test_too_many_errors():
    """A file that is no Corefile gives a hundred errors, not a million."""
    assert len(errors("}\n" * 5000)) == parser.MAX_ERRORS


def test_canonical():
    """Two files that differ in layout only say the same."""
    one = canonical(blocks('a b {\n cache 30 {\n  success "5" # why\n }\n}'))
    two = canonical(blocks("# head\na,\nb\n{ cache 30\n{ success 5 } }"))
    assert one == two == '[[["a","b"],[["cache",["30"],[["success",["5"],[]]]]]]]'
    assert one != canonical(blocks("a b {\n cache 30 {\n  success 6\n }\n}"))


PIECES = st.sampled_from(
    ["{", "}", "import", "s", "(s)", ",", "a,", "\n", " ", '"', "\\", "#", "log", "*", "{$ZONE}", "{%", "x"]
)


@given(st.text(max_size=200) | st.lists(PIECES, max_size=60).map("".join) | st.lists(PIECES, max_size=60).map(" ".join))
@example("(s) { } (s) { import s } import s")
def test_any_text(text):
    """Any text is blocks or ConfigErrors with places, nothing else."""
    try:
        found = blocks(text, etc__x="log\nimport s", etc__a="import x")
    except ConfigErrors as caught:
        found = ()
        places = [error.at for error in caught.errors]
    else:
        places = [block.at for block in found]
    assert None not in places
    assert canonical(found)


def quoted(word: str) -> str:
    """The word as a file holds it; it has no backslash."""
    return '"' + word.replace('"', '\\"') + '"'


@given(
    st.recursive(st.just([]), lambda inner: st.lists(st.tuples(st.text('abc,{}" #', min_size=1), inner), max_size=3))
)
def test_round_trip(tree):
    """A tree of directives that is written down reads back the same."""

    def lines(nodes):
        for name, inner in nodes:
            yield quoted(name) + (" {" if inner else "")
            yield from lines(inner)
            if inner:
                yield "}"

    def wanted(nodes):
        return [[name, *([wanted(inner)] if inner else [])] for name, inner in nodes]

    (block,) = blocks(". {\n" + "\n".join(lines(tree)) + "\n}")
    assert shape(block.directives) == wanted(tree)
