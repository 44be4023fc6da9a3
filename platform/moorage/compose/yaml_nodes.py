"""YAML text -> positioned nodes, under hard limits: depth, nodes after alias expansion, aliases.

Stands on PyYAML's events, not on its constructors: scalars are YAML 1.2 core schema (`on` and `22:22` are text), keys
are text and unique, tags other than the core ones are refused. Aliases share their node; what they would expand to is
counted when they are used, so a bomb is refused before anything grows. `<<` merges mappings under the same count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from moorage.compose.problems import Position, Report, join, shown
from moorage.compose.scalar_kinds import Kind, kind_of
from moorage.compose.source_text import Unreadable, forbidden_character

MAX_DEPTH = 20
MAX_NODES = 5_000
MAX_ALIASES = 100


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """One value: its text as written (escapes and folding resolved) and what YAML 1.2 takes it for."""

    at: Position
    kind: Kind
    text: str
    size: int = 1
    height: int = 0


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A list. `size` counts nodes with aliases expanded, `height` the collections nested in it, itself included."""

    at: Position
    items: tuple["Node", ...]
    size: int = 1
    height: int = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key's place and its value."""

    key_at: Position
    value: "Node"


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Keys to values, in the order of the text, merged keys last."""

    at: Position
    entries: dict[str, Entry]
    size: int = 1
    height: int = 1


Node = Scalar | Sequence | Mapping

_CORE = "tag:yaml.org,2002:"
_KINDS: dict[str, Kind] = {"int": "integer", "float": "float", "bool": "boolean", "null": "null"}


def load(text: str, report: Report) -> Node | None:
    """The one document of an admitted text, or None if it is empty.

    Duplicate or non-text keys and foreign tags are reported and read past. Raises Unreadable for broken YAML and for
    anything over a limit.
    """
    builder = _Builder(text, report)
    try:
        return builder.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(_position(mark), f"This is not valid YAML: {_reason(error)}.{_advice(error)}") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML turns an escape such as "\UFFFFFFFF" or an endless %YAML version into these.
        raise Unreadable(builder.reached, "This is not valid YAML: an escape or a number here means nothing.") from None
    finally:
        builder.dispose()


class _Events(yaml.SafeLoader):
    """PyYAML's scanner and parser; flow nesting is stopped where it is scanned, before it costs quadratic time."""

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= MAX_DEPTH:
            raise _too_deep(_position(self.get_mark()))
        super().fetch_flow_collection_start(token)


class _Builder:
    """Builds nodes from events; recursion is bounded by MAX_DEPTH."""

    def __init__(self, text: str, report: Report) -> None:
        self._loader = _Events(text)
        self._events = self._read_events()
        self._report = report
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._aliases = 0

    @property
    def reached(self) -> Position:
        """How far the text has been scanned."""
        return _position(self._loader.get_mark())

    def dispose(self) -> None:
        """Break PyYAML's reference cycles, so that a refused file is freed at once."""
        self._loader.dispose()

    def document(self) -> Node | None:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        if getattr(event, "tags", None):
            raise Unreadable(_position(event.start_mark), "%TAG directives are not accepted. Remove the line.")
        root = self._node(next(self._events), 0, "")
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise Unreadable(
                _position(event.start_mark),
                "The file holds more than one YAML document. Send one file with one document, without a second ---.",
            )
        return root

    def _node(self, event: yaml.Event, depth: int, path: str) -> Node:
        at = _position(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, at, depth)
        self._count(1, at)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, at, path)
        elif depth >= MAX_DEPTH:
            raise _too_deep(at)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, at, depth, path)
        else:
            assert isinstance(event, yaml.MappingStartEvent)
            node = self._mapping(event, at, depth, path)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, anchor: str | None, at: Position, depth: int) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise Unreadable(at, f"The file uses more than {MAX_ALIASES} aliases. Write some of them out.")
        if anchor not in self._anchors:
            raise Unreadable(at, f"There is no anchor {shown('&' + str(anchor))} above this alias. Define it first.")
        node = self._anchors[anchor]
        if node is None:
            raise Unreadable(at, f"The anchor {shown('&' + str(anchor))} contains itself. Write the value out.")
        if depth + node.height > MAX_DEPTH:
            raise _too_deep(at)
        self._count(node.size, at)
        return node

    def _sequence(self, event: yaml.SequenceStartEvent, at: Position, depth: int, path: str) -> Sequence:
        self._check_collection_tag(event.tag, "seq", at, path)
        items: list[Node] = []
        while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(child, depth + 1, join(path, len(items))))
        return Sequence(
            at=at,
            items=tuple(items),
            size=1 + sum(item.size for item in items),
            height=1 + max((item.height for item in items), default=0),
        )

    def _mapping(self, event: yaml.MappingStartEvent, at: Position, depth: int, path: str) -> Mapping:
        self._check_collection_tag(event.tag, "map", at, path)
        entries: dict[str, Entry] = {}
        merges: list[Mapping] = []
        size, height, merged = 1, 0, False
        while not isinstance(child := next(self._events), yaml.MappingEndEvent):
            is_merge = isinstance(child, yaml.ScalarEvent) and child.value == "<<" and not (child.style or child.tag)
            key = self._node(child, depth + 1, path)
            place = join(path, key.text) if isinstance(key, Scalar) else path
            value = self._node(next(self._events), depth + 1, place)
            size += key.size + value.size
            # A merged mapping's keys come up to this level.
            height = max(height, value.height - is_merge)
            if is_merge:
                if merged:
                    self._tell(place, key.at, "There are two << in one mapping. Merge a list: <<: [*a, *b].")
                merged = True
                merges.extend(self._merge_sources(value, place))
            elif not isinstance(key, Scalar) or key.kind != "string":
                written = f" {shown(key.text)}" if isinstance(key, Scalar) else ""
                self._tell(path, key.at, f"The key{written} is not text. Put it in quotes or rename it.")
            elif key.text in entries:
                first = entries[key.text].key_at.line
                self._tell(
                    place, key.at, f"The key {shown(key.text)} is already given in line {first}. Keep one of the two."
                )
            else:
                entries[key.text] = Entry(key_at=key.at, value=value)
        for source in merges:
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
        return Mapping(at=at, entries=entries, size=size, height=1 + height)

    def _merge_sources(self, value: Node, path: str) -> list[Mapping]:
        sources = value.items if isinstance(value, Sequence) else (value,)
        mappings = [source for source in sources if isinstance(source, Mapping)]
        if len(mappings) != len(sources):
            self._tell(path, value.at, "<< merges a mapping or a list of mappings. Point it to one: <<: *name.")
        return mappings

    def _scalar(self, event: yaml.ScalarEvent, at: Position, path: str) -> Scalar:
        text = event.value
        if event.style == '"' and (found := forbidden_character(text)):
            self._report.spoil(path, at, f"An escape here makes a control or invisible character ({found}). Remove it.")
        plain = kind_of(text) if not event.style else "string"
        tag = event.tag
        if tag is None:
            return Scalar(at=at, kind=plain, text=text)
        name = tag.removeprefix(_CORE)
        if tag != "!" and name != "str" and (name == tag or _KINDS.get(name) != plain):
            self._refuse_tag(tag, at, path)
        return Scalar(at=at, kind=plain if name in _KINDS else "string", text=text)

    def _check_collection_tag(self, tag: str | None, expected: str, at: Position, path: str) -> None:
        if tag not in (None, "!", _CORE + expected):
            self._refuse_tag(str(tag), at, path)

    def _refuse_tag(self, tag: str, at: Position, path: str) -> None:
        if tag in ("!reset", "!override"):
            message = f"{tag} changes another Compose file, and Moorage reads one file only. Write the final value."
        else:
            message = f"The tag {shown(tag.replace(_CORE, '!!'))} is not accepted. Remove it and write a plain value."
        self._tell(path, at, message)

    def _tell(self, path: str, at: Position, message: str) -> None:
        if self._report.is_full:
            raise Unreadable(at, "There are too many problems to read on. Correct these first.")
        self._report.error(path, at, message)

    def _read_events(self) -> Iterator[yaml.Event]:
        while self._loader.check_event():
            yield self._loader.get_event()  # type: ignore[no-untyped-call]

    def _count(self, nodes: int, at: Position) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise Unreadable(
                at, f"The file has more than {MAX_NODES} values, aliases expanded. Make it smaller or split it."
            )


def _position(mark: Any) -> Position:
    return Position(line=mark.line + 1, column=mark.column + 1) if mark else Position(line=1, column=1)


def _too_deep(at: Position) -> Unreadable:
    return Unreadable(at, f"The file is nested deeper than {MAX_DEPTH} levels. Make it flatter.")


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = (error.problem or error.context or "it breaks off")[:120]
    return said if said.isascii() and said.isprintable() else ascii(said)


def _advice(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return " Indent with spaces, not with tabs."
    if "mapping values" in problem:
        return " Put a value that contains a colon in quotes, and check the indentation."
    return " Check indentation, quotes and brackets around this place."
