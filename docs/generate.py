"""Write the generated parts of the documentation: all of ``docs/reference/``, and the tables of ``concepts.md``.

What stands there is taken from the code that does it: commands from the command line's own tree, decisions from the
pure core, settings from their table, fields from the dataclasses.

Usage: ``python docs/generate.py [--check]``; with ``--check`` nothing is written, and the exit code is 1 if anything is
out of date.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

import trueup
import trueup.stores
from trueup.cli import root
from trueup.cli.failures import BUG
from trueup.cli.group import PROGRAM, every_command
from trueup.cli.topics import EXIT_CODES
from trueup.config import reference as settings_reference
from trueup.config.settings import KINDS
from trueup.core import codec, errors, report
from trueup.core.check import Guard, Limits
from trueup.core.model import LOCAL, REMOTE, Side
from trueup.core.reconcile import Reason, decide
from trueup.core.strategy import Conflict, Deletes, Direction, Keep, Policy
from trueup.core.table import Rule, Verb
from trueup.core.table import words as all_words
from trueup.engine.filter import DEFAULT_EXCLUDES
from trueup.render.wording import GUARDS, IDLE_MARKS, KEEP, MARKS, REASONS, STATUSES
from trueup.web.app import openapi
from trueup.web.problems import CODES

DOCS = Path(__file__).resolve().parent
SOURCE = Path(inspect.getfile(trueup)).parent
NOTE = "<!-- Written by docs/generate.py from the code. To change it, change the code, then: make docs -->"
WIDTH = 96

Lines = Iterator[str]


def main() -> int:
    """Write everything, or say what is out of date."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if anything is out of date")
    arguments = parser.parse_args()
    pages = {DOCS / "reference" / name: _page(make) for name, make in PAGES.items()}
    concepts = DOCS / "concepts.md"
    pages[concepts] = filled(concepts.read_text("utf-8"))
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [path for path in sorted((DOCS / "reference").glob("*.md")) if path not in pages]
    if arguments.check:
        for path in stale:
            print(f"docs/{path.relative_to(DOCS)} is out of date. Try: make docs")
        return 1 if stale else 0
    (DOCS / "reference").mkdir(exist_ok=True)
    for path in stale:
        if path in pages:
            path.write_text(pages[path], "utf-8")
        else:
            path.unlink()
    return 0


def _page(make: Callable[[], Lines]) -> str:
    title, *rest = make()
    return "\n".join([title, "", NOTE, "", *rest]).rstrip() + "\n"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    """A Markdown table."""
    yield "| " + " | ".join(headers) + " |"
    yield "|" + "---|" * len(headers)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def code(text: object) -> str:
    """As code."""
    return f"`{text}`"


# -- commands ----------------------------------------------------------------------------------------------------


def commands() -> Lines:
    """Every command with its help."""
    yield "# Commands"
    yield "The common options (`--json`, `-q`, `--state`, ...) are listed under `trueup` and may stand anywhere."
    yield "Several words of one option are separated by `|`. Exit codes: [exit-codes.md](exit-codes.md)."
    yield ""
    for path, command in every_command(root):
        yield f"## {' '.join((PROGRAM, *path))}"
        yield ""
        yield "```text"
        yield from help_of(path, command).splitlines()
        yield "```"
        yield ""


def help_of(path: Sequence[str], command: click.Command) -> str:
    """The help of one command, at a fixed width."""
    context = click.Context(root, info_name=PROGRAM, terminal_width=WIDTH)
    found: click.Command = root
    for name in path:
        below = found.get_command(context, name) if isinstance(found, click.Group) else root.worded(path[0]).get(name)
        if below is None:
            raise LookupError(name)
        context, found = click.Context(below, info_name=name, parent=context, terminal_width=WIDTH), below
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


# -- settings, exit codes, words ---------------------------------------------------------------------------------


def settings() -> Lines:
    """Every setting and variable."""
    yield "# Settings"
    yield "Settings stand in `trueup.toml` (or in `[tool.trueup]` of `pyproject.toml`), in the folder where you are or"
    yield "in one above it. Flags win over the environment, that over the project's file, the user's, the system's."
    yield "`trueup config show --origin` says where each value comes from; `trueup config schema` prints a JSON Schema."
    yield ""
    yield "Sizes may be written `10MB`, durations `30s`, patterns as in a `.gitignore`. A file `.trueupignore` in the"
    yield "local folder holds more patterns. Left out unless `defaults` is `false`: "
    yield ", ".join(map(code, DEFAULT_EXCLUDES)) + ". A folder `.trueup/` in a root is never part of a target."
    yield ""
    yield "Kinds of target: " + ", ".join(map(code, KINDS)) + "."
    yield ""
    yield from settings_reference.reference().splitlines()


def exit_codes() -> Lines:
    """Every exit code."""
    names = {value: name for name, value in vars(report).items() if name.startswith("EXIT_")}
    if set(names) != set(EXIT_CODES):
        raise ValueError(f"trueup.core.report and `trueup help exit-codes` disagree: {set(names) ^ set(EXIT_CODES)}")
    yield "# Exit codes"
    yield from table(
        ("code", "name in `trueup.core.report`", "meaning"),
        ((code(number), code(names[number]), f"{text[0].upper()}{text[1:]}.") for number, text in EXIT_CODES.items()),
    )
    yield ""
    yield "Several at once, as with several targets: the first of 78, 5, 1, 2, 4, 3."
    yield ""
    yield "Read-only commands end with 3 for drift only if they were asked to: `--exit-code`, or `--quiet`, which"
    yield "implies it. `trueup plan --detailed-exitcode` ends with 0 (nothing to do), 1 (error) or 2 (changes or"
    yield "conflicts)."


def words() -> Lines:
    """Every sign, reason and status."""
    yield "# The words of a plan"
    yield "A line of a plan begins with a sign and a word. The word is always there; colour only repeats it. No kind of"
    yield "target uses all of them."
    yield ""
    yield from table(("sign", "word", "meaning"), ((_sign(m.sign), m.word, m.meaning) for m in MARKS))
    yield ""
    yield "## Reasons"
    yield ""
    yield "Each line says why. In JSON the reason is the word on the left. What stands in braces is filled in."
    yield ""
    docs = fields_docs("trueup.core.reconcile", "Reason")
    rows = []
    for reason in Reason:
        mark = IDLE_MARKS.get(reason, KEEP)
        rows.append((code(reason.value), REASONS[reason], docs.get(reason.name, ""), mark.word))
    yield from table(("reason", "as it is worded", "more", "word when nothing is done"), rows)
    yield ""
    yield "## Status of a step"
    yield ""
    yield "The report of a run, and `trueup history show`, give one status for each step."
    yield ""
    yield from table(
        ("status", "sign", "meaning"), ((code(s.value), _sign(m.sign), m.meaning) for s, m in STATUSES.items())
    )
    yield ""
    yield "## Endings of a run"
    yield ""
    yield from enumeration("trueup.core.report", "Ending")
    yield ""
    yield "## States in the history"
    yield ""
    yield from enumeration("trueup.engine.journal", "RunState")


def _sign(sign: str) -> str:
    return code(sign) if sign else ""


def guards() -> Lines:
    """Every guard."""
    yield "# Guards"
    yield "A guard stops a run before the first write, with exit code 5. The refusal names the one option that lets one"
    yield "run pass: `--allow` and the guard's name. `--yes` never does. Nothing else has to be done to go on."
    yield ""
    yield from table(("guard", "stops a run when"), ((code(g.value), GUARDS[g]) for g in Guard))
    yield ""
    limits = Limits()
    share = f"{limits.delete_share:.0%}" if limits.delete_share is not None else "no share"
    yield f"Deletions are counted on each side, files only. Up to {limits.delete_count} always pass. Above that the"
    yield f"limit is {share} of the items that both sides last agreed on; `max_delete` or `--max-delete` sets another"
    yield "share (`30%`) or a plain count (`50`)."


# -- errors ------------------------------------------------------------------------------------------------------


def error_classes() -> list[type[errors.TrueupError]]:
    """Every error class of the core, the tree drawn in `core.errors` from top to bottom."""

    def below(cls: type[errors.TrueupError]) -> Iterator[type[errors.TrueupError]]:
        yield cls
        for sub in cls.__subclasses__():
            if sub.__module__.startswith("trueup.core"):
                yield from below(sub)

    return list(dict.fromkeys(below(errors.TrueupError)))


def error_codes() -> Lines:
    """Every error code."""
    yield "# Error codes"
    yield "An error is one line on stderr: `error[CODE]: what - why - try: command`. With `--json` it is a document,"
    yield "see [documents.md](documents.md). What to do about each: [troubleshooting.md](../troubleshooting.md)."
    yield ""
    rows = [
        (
            f"[`{cls.code}`](../troubleshooting.md#{cls.code.lower()})",
            code(f"{cls.__module__}.{cls.__name__}"),
            str(cls.exit_code),
            "yes" if cls.retryable else "",
            first_sentence(cls),
        )
        for cls in error_classes()
    ]
    bug = (f"[`{BUG}`](../troubleshooting.md#{BUG.lower()})", "", "1", "", "Nobody expected this: a defect of trueup.")
    rows += [
        (f"[`{name}`](../troubleshooting.md#{name.lower()})", "the server only", "", "", meaning)
        for name, meaning in CODES.items()
    ]
    yield from table(("code", "class", "exit code", "tried again", "meaning"), [*rows, bug])
    yield ""
    yield "A step of a run that fails with a store's error is an outcome, not an end: the run goes on, and its exit"
    yield "code is 2, or 1 if nothing succeeded."


def first_sentence(thing: object) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("``", "`")


# -- documents ---------------------------------------------------------------------------------------------------

_MODELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("trueup.core.plan", ("Plan", "Item", "Step", "Ref", "Observed", "Target", "Phase")),
    ("trueup.core.model", ("Entry", "Unknown", "Ancestor", "Content", "Fingerprint", "Kind")),
    ("trueup.core.strategy", ("Policy", "Direction", "Conflict", "Deletes", "Keep")),
    ("trueup.core.table", ("Verb",)),
    ("trueup.core.report", ("Report", "Outcome", "Status", "Ending")),
    ("trueup.core.check", ("Refusal", "Guard")),
    ("trueup.engine.journal", ("RunSummary", "RunState")),
    ("trueup.engine.job", ("Progress",)),
    ("trueup.engine.doctor", ("Diagnosis",)),
    ("trueup.api", ("TrashItem",)),
    ("trueup.protocols", ("Discarded",)),
)
"""What stands in documents, by module."""


def documents() -> Lines:
    """Every JSON document and its fields."""
    yield "# JSON documents"
    yield "`--json` prints one document, `--output jsonl` one event a line; both on stdout, both ASCII. Each begins"
    yield f"with `format` and `version`, which is {codec.VERSION}. A field is never left out; what is not known is"
    yield "`null`. Names that are not UTF-8 carry each such byte as `\\udcXX`. Times are nanoseconds since the epoch,"
    yield "sizes are bytes."
    yield ""
    yield "`trueup plan -o FILE` writes a plan document; `trueup apply FILE` reads it. Its `digest` names the steps and"
    yield "the versions that they expect: two plans of one digest do the same. A plan that was altered is refused."
    yield ""
    yield "## Documents"
    yield ""
    yield from table(("format", "written by", "fields"), _documents())
    yield ""
    yield "## Events"
    yield ""
    yield "`format` is `trueup.event`, the name is in `event`. A run ends with `end`."
    yield ""
    yield from table(("event", "fields"), _events())
    yield ""
    yield "## Fields"
    yield ""
    for module, names in _MODELS:
        for name in names:
            yield from _model(module, name)


def _model(module: str, name: str) -> Lines:
    cls = getattr(importlib.import_module(module), name)
    module = cls.__module__  # wherever it has moved to
    yield f"### {name}"
    yield ""
    yield first_sentence(cls)
    yield ""
    if issubclass(cls, Enum):
        yield from enumeration(module, name)
    else:
        docs = fields_docs(module, name)
        types = _annotations(module, name)
        yield from table(
            ("field", "type", ""), ((code(field), code(types[field]), docs.get(field, "")) for field in types)
        )
    yield ""


def enumeration(module: str, name: str) -> Lines:
    """The values of an enumeration, as they are written in documents."""
    cls = getattr(importlib.import_module(module), name)
    docs = fields_docs(module, name)
    values = ((codec.encode(member), docs.get(member.name, "")) for member in cls)
    if not any(docs.values()):
        yield ", ".join(code(value) for value, _ in values)
    else:
        yield from table(("value", ""), ((code(value), doc) for value, doc in values))


def _class_node(module: str, name: str) -> ast.ClassDef:
    source = inspect.getsource(importlib.import_module(module))
    return next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.name == name)


def fields_docs(module: str, name: str) -> dict[str, str]:
    """The sentence below each field of a class."""
    docs = {}
    for node, after in pairwise(_class_node(module, name).body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docs[target.id] = " ".join(str(after.value.value).split()).replace("``", "`")
    return docs


def _annotations(module: str, name: str) -> dict[str, str]:
    """Fields and their types, as the source writes them."""
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in _class_node(module, name).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _calls(names: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Calls that write documents: module, name of the document, fields."""
    for path in sorted((SOURCE / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            literal = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant)]
            if called in names and literal:
                yield path.stem, str(literal[0]), [keyword.arg or "..." for keyword in node.keywords]


def _documents() -> Iterator[Sequence[str]]:
    rows: dict[str, tuple[list[str], list[str]]] = {
        codec.PLAN_FORMAT: (["plan"], ["digest", "plan", "refusals"]),
        codec.REPORT_FORMAT: ([], ["report"]),
    }
    for module, name, fields in _calls(("finish", "respond", "document")):
        modules, known = rows.setdefault(f"trueup.{name}", ([], []))
        modules += [module] if module not in modules else []
        known += [field for field in fields if field not in known]
    for name, (modules, fields) in sorted(rows.items()):
        written = ", ".join(code(f"trueup.cli.{module}") for module in modules) or "inside `trueup.results`"
        yield code(name), written, ", ".join(code(field) for field in fields)


def _events() -> Iterator[Sequence[str]]:
    rows: dict[str, list[str]] = {}
    for _, name, fields in _calls(("event", "respond")):
        known = rows.setdefault(name, [])
        known += [field for field in fields if field not in known]
    for name, fields in sorted(rows.items()):
        yield code(name), ", ".join(code(field) if field != "..." else "those of the document" for field in fields)


# -- stores and names --------------------------------------------------------------------------------------------


KIND_MODULES = {kind: kind for kind in KINDS} | {
    "agent": "agents",
    "cache": "caches",
    "dataset": "datasets",
    "envs": "environments",
    "folder": "folders",
}


def stores() -> Lines:
    """Every store and every public name."""
    yield "# Stores, kinds and public names"
    yield "## Stores"
    yield ""
    yield "A side is a path or a URL; a plain path is a `file`. Other packages add schemes, see"
    yield "[write-a-store.md](../write-a-store.md)."
    yield ""
    rows = []
    for scheme, home in trueup.stores._OURS.items():  # noqa: SLF001  # no public list, and it must be complete
        doc = first_sentence(importlib.import_module(home.partition(":")[0]))
        rows.append((code(f"{scheme}://"), doc.partition(": ")[2]))
    yield from table(("scheme", ""), rows)
    yield ""
    yield "## Kinds of target"
    yield ""
    kinds = [
        (code(kind), first_sentence(importlib.import_module(f"trueup.targets.{KIND_MODULES[kind]}"))) for kind in KINDS
    ]
    yield from table(("kind", ""), kinds)
    yield ""
    yield "## Public names"
    yield ""
    yield "`from trueup import NAME`. Everything else may change."
    yield ""
    yield from table(("name", ""), ((code(name), first_sentence(getattr(trueup, name))) for name in trueup.__all__))


def index() -> Lines:
    """All pages of the reference."""
    yield "# Reference"
    for name, make in PAGES.items():
        if make is not index:
            yield f"- [{next(make()).removeprefix('# ')}]({name})"


# -- REST ----------------------------------------------------------------------------------------------------------


def rest() -> Lines:
    """Every operation of the server."""
    document = openapi()
    yield "# REST"
    yield "Every operation of `trueup serve`. The whole of it, with the form of each document, is at"
    yield "`GET /api/v1/openapi.json` (OpenAPI 3.1). How to use it: [server.md](../server.md)."
    yield ""
    yield "Any operation can answer with a problem document (RFC 9457): `type`, `title`, `status`, `detail`, `code` and"
    yield "`hint`; the codes are in [errors.md](errors.md)."
    yield ""
    for tag in dict.fromkeys(one["tags"][0] for path in document["paths"].values() for one in path.values()):
        yield f"## {tag.capitalize()}"
        yield ""
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag]:
                    yield from _operation(document, method, path, operation)


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Lines:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation["description"]
    yield ""
    answers = [status for status in operation["responses"] if status != "4XX"]
    yield f"Answers {', '.join(map(code, answers))}."
    yield ""
    rows = [
        (code(one["name"]), one["in"], _form(one["schema"]), one.get("description", ""))
        for one in operation.get("parameters", [])
        if one["in"] != "path"
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    rows += [
        (code(name), "body", _form(schema), schema.get("description", ""))
        for name, schema in _resolved(document, body).get("properties", {}).items()
    ]
    if rows:
        yield from table(("field", "in", "form", ""), rows)
        yield ""


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, if need be the one that it points at."""
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _form(schema: dict[str, Any]) -> str:
    """A schema in few words."""
    if "$ref" in schema:
        return code(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_form(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    said = str(schema.get("type", "anything"))
    if said == "array":
        said = f"list of {_form(schema['items'])}"
    default = f", else {code(str(schema['default']).lower())}" if schema.get("default") not in (None, "", []) else ""
    return f"{said}{default}"


PAGES: dict[str, Callable[[], Lines]] = {
    "README.md": index,
    "commands.md": commands,
    "settings.md": settings,
    "plan.md": words,
    "guards.md": guards,
    "exit-codes.md": exit_codes,
    "errors.md": error_codes,
    "documents.md": documents,
    "rest.md": rest,
    "stores.md": stores,
}


# -- the tables of concepts.md -----------------------------------------------------------------------------------


def did(spelled: str, side: Side) -> str:
    """What a side did since both agreed, in words; the ancestor comes first in the word."""
    ancestor, letter = spelled[0], spelled[1 if side == LOCAL else 2]
    if letter == "-":
        return "-" if ancestor == "-" else "deleted"
    if ancestor == "-":
        return "new"
    return "as it was" if letter == "a" else "changed"


def outcome(rule: Rule) -> str:
    """What is done, in the words of a plan."""
    if not rule.acts:
        return {Reason.AGREE: "nothing", Reason.CONFLICT: "conflict"}.get(Reason(rule.reason), "keep")
    said = []
    siblings = [act.side for act in rule.acts if act.verb is Verb.SIBLING]
    if siblings:
        where = "both sides" if len(siblings) == 2 else siblings[0]
        said.append(f"sibling on {where}")
    for act in rule.acts:
        match act.verb:
            case Verb.SAVE:
                said.append(f"save {act.side}")
            case Verb.PUT:
                said.append("upload" if act.side == REMOTE else "download")
            case Verb.DELETE:
                said.append(f"delete on {act.side}")
            case Verb.ADOPT:
                said.append("remember")
            case Verb.SIBLING:
                pass
            case _:
                raise ValueError(f"no words for {act.verb}")
    return ", ".join(said)


_WORDS = ("aaa", "abb", "-aa", "a--", "-a-", "--a", "aba", "aab", "abc", "-ab", "ab-", "a-b", "aa-", "a-a")
"""Every word of the table over (ancestor, local, remote), as `trueup.core.reconcile` spells them."""


def decisions() -> Lines:
    """What happens to one item, for every direction."""
    rows = []
    if set(_WORDS) != set(all_words(3)):
        raise ValueError("the table of decisions misses a word")
    for spelled in _WORDS:
        remote = did(spelled, REMOTE) + {"abb": ", the same", "-aa": ", the same"}.get(spelled, "")
        remote += ", differently" if spelled in ("abc", "-ab") else ""
        rows.append((did(spelled, LOCAL), remote, *(_for_direction(spelled, direction) for direction in Direction)))
    yield from table(("local", "remote", *(code(d.value) for d in Direction)), rows)


def _for_direction(spelled: str, direction: Direction) -> str:
    by_deletes = {outcome(decide(spelled, Policy(direction, deletes=deletes), None)) for deletes in Deletes}
    by_conflict = {outcome(decide(spelled, Policy(direction, conflict=conflict), LOCAL)) for conflict in Conflict}
    if len(by_deletes) > 1:
        return "by `deletes`"
    if len(by_conflict) > 1:
        return "by `conflict`"
    return by_deletes.pop()


def conflicts() -> Lines:
    """What each strategy does with a conflict."""
    rows = []
    for conflict in Conflict:
        cases: list[tuple[str, Side | None]] = [("", None)]
        if conflict is Conflict.NEWEST_WINS:
            cases = [(", local is newer", LOCAL), (", remote is newer", REMOTE), (", nobody can tell", None)]
        for words_, later in cases:
            cells = (outcome(decide("abc", Policy(direction, conflict), later)) for direction in Direction)
            rows.append((f"`{conflict.value}`{words_}", *cells))
    yield from table(("conflict", *(code(d.value) for d in Direction)), rows)


def deletes() -> Lines:
    """What a deletion means."""
    rows = []
    for setting in Deletes:
        for spelled, where in (("a-a", "local"), ("aa-", "remote")):
            cells = (outcome(decide(spelled, Policy(d, deletes=setting), None)) for d in Direction)
            rows.append((code(setting.value), f"deleted on {where}", *cells))
    yield from table(("deletes", "what happened", *(code(d.value) for d in Direction)), rows)


def defaults() -> Lines:
    """The defaults of a folder."""
    policy = Policy()
    kinds: tuple[tuple[str, type[StrEnum], StrEnum], ...] = (
        ("direction", Direction, policy.direction),
        ("conflict", Conflict, policy.conflict),
        ("deletes", Deletes, policy.deletes),
        ("keep", Keep, policy.keep),
    )
    rows = ((code(name), ", ".join(map(code, kind)), code(value.value)) for name, kind, value in kinds)
    yield from table(("setting", "values", "default"), rows)


def guard_table() -> Lines:
    """Every guard in a sentence."""
    yield from table(("guard", "stops a run when"), ((code(g.value), GUARDS[g]) for g in Guard))


REGIONS: dict[str, Callable[[], Lines]] = {
    "decisions": decisions,
    "conflicts": conflicts,
    "deletes": deletes,
    "defaults": defaults,
    "guards": guard_table,
}

_REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The text with its generated regions written anew."""
    if missing := set(REGIONS) - {match[1] for match in _REGION.findall(text)}:
        raise ValueError(f"concepts.md has no place for {', '.join(sorted(missing))}")
    return _REGION.sub(lambda match: match[1] + "".join(f"{line}\n" for line in REGIONS[match[2]]()) + match[3], text)


if __name__ == "__main__":
    sys.exit(main())
