"""Engine arguments as people write them -> typed flags in canonical long form, or a sentence for each that is refused.

An item is one argument or a short command line (`--k v`, `--k=v`, or `--k` and `v` as two items). The same check runs
when a file is read, when a revision is made for a known engine, and when an argument list is built.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from moorage.compose.flag_rules import DROPPED, LLAMACPP, OWNED, VLLM, FlagRule
from moorage.compose.problems import Severity, shown
from moorage.compose.spec import Driver, Flag

MAX_ITEMS = 64
MAX_ITEM_LENGTH = 512

RULES: Mapping[Driver, Mapping[str, FlagRule]] = {"llamacpp": LLAMACPP, "vllm": VLLM}
ENGINE_NAMES: Mapping[Driver, str] = {"llamacpp": "llama.cpp", "vllm": "vLLM"}

_ALIASES: Mapping[Driver, Mapping[str, str]] = {
    engine: {alias: rule.name for rule in rules.values() for alias in rule.aliases} for engine, rules in RULES.items()
}
_NEGATIVE = re.compile(r"-[0-9]")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_NUMBER = re.compile(r"-?(?:[0-9]{1,10}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})")
_NUMBERS = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?(?:,[0-9]{1,4}(?:\.[0-9]{1,4})?){0,15}")


@dataclass(frozen=True, kw_only=True)
class FlagProblem:
    """One flag that is refused or dropped: `suffix` goes behind the path of runtime_flags."""

    suffix: str
    message: str
    severity: Severity = "error"
    item: int = 0


@dataclass(frozen=True, kw_only=True)
class FlagReading:
    """What a list of items says: flags sorted by name, the item each came from, and what was found wrong."""

    flags: tuple[Flag, ...]
    items: Mapping[str, int]
    problems: tuple[FlagProblem, ...]


@dataclass(frozen=True, kw_only=True)
class _Token:
    item: int
    text: str

    @property
    def is_flag(self) -> bool:
        return self.text.startswith("-") and not _NEGATIVE.match(self.text)


def read(items: Sequence[str], engine: Driver | None) -> FlagReading:
    """Flags from the items of `runtime_flags`; without an engine a flag has to suit at least one."""
    problems: list[FlagProblem] = []
    if len(items) > MAX_ITEMS:
        message = f"There are more than {MAX_ITEMS} flags. Keep those you need."
        return FlagReading(flags=(), items={}, problems=(FlagProblem(suffix="", message=message),))
    tokens = [token for index, item in enumerate(items) for token in _tokens(item, index, problems)]
    flags, places = _assemble(tokens, engine, problems)
    if engine is None:
        problems.extend(_check_any(flags, places))
    else:
        problems.extend(
            FlagProblem(suffix=each.suffix, message=each.message, item=places[_name_of(each.suffix)])
            for each in check(engine, flags)
        )
    canonical = tuple(sorted((_canonical(flag) for flag in flags), key=lambda flag: flag.name))
    return FlagReading(flags=canonical, items=places, problems=tuple(problems))


def check(engine: Driver, flags: Sequence[Flag]) -> tuple[FlagProblem, ...]:
    """What the engine's allow-list says against these flags: empty if they may be passed as they are."""
    problems: list[FlagProblem] = []
    seen: set[str] = set()
    for flag in flags:
        rule = RULES[engine].get(flag.name)
        group = _group(flag.name)
        if rule is None:
            message: str | None = _refusal(flag.name, engine)
        elif group in seen:
            message = f"{flag.name} is given twice or contradicts another flag. Keep one."
        else:
            message = _value_problem(rule, flag.value)
        seen.add(group)
        if message:
            problems.append(FlagProblem(suffix=f"[{flag.name}]", message=message))
    return tuple(problems)


def arguments(flags: Sequence[Flag]) -> tuple[str, ...]:
    """The flags as an argument list, name and value apart."""
    return tuple(part for flag in flags for part in (flag.name, flag.value) if part is not None)


def _tokens(item: str, index: int, problems: list[FlagProblem]) -> list[_Token]:
    """The words of one item, or none if it must not be split at all."""
    message = ""
    if not item.strip():
        message = "This flag is empty. Remove it."
    elif len(item) > MAX_ITEM_LENGTH:
        message = f"This flag is longer than {MAX_ITEM_LENGTH} characters. Shorten it."
    elif not item.isascii():
        message = f"{shown(item)} has a character that is not plain ASCII, perhaps a long dash. Type it again with - ."
    elif not item.isprintable():
        message = f"{shown(item)} has a line break or control character. Write one flag in each item."
    elif "/" in item or "\\" in item:
        message = f"{shown(item)} holds a / or \\, and flags cannot name files or addresses. Remove it."
    else:
        try:
            return [_Token(item=index, text=word) for word in shlex.split(item)]
        except ValueError:
            message = f"{shown(item)} has a quote that is not closed. Close or remove it."
    problems.append(FlagProblem(suffix=f"[{index}]", message=message, item=index))
    return []


def _assemble(
    tokens: list[_Token], engine: Driver | None, problems: list[FlagProblem]
) -> tuple[list[Flag], dict[str, int]]:
    """Names joined with their values; refused names take their values with them."""
    flags: list[Flag] = []
    places: dict[str, int] = {}
    index = 0

    def refuse(token: _Token, message: str, severity: Severity = "error") -> None:
        problems.append(FlagProblem(suffix=f"[{token.item}]", message=message, severity=severity, item=token.item))

    while index < len(tokens):
        token = tokens[index]
        index += 1
        if not token.is_flag:
            refuse(token, f"The value {shown(token.text)} belongs to no flag. Put it behind its flag or remove it.")
            continue
        name, equals, value = token.text.partition("=")
        following = tokens[index] if index < len(tokens) and not tokens[index].is_flag else None
        rule = _find(name, engine)
        if rule is None:
            index += following is not None and not equals
            if name in DROPPED:
                refuse(token, f"{name} is ignored: {DROPPED[name]}.", "warning")
            else:
                refuse(token, _refusal(name, engine))
            continue
        if rule.takes_value and not equals and following is not None:
            value = following.text
            index += 1
        elif rule.takes_value and not equals:
            refuse(token, f"{name} needs a value. Write {rule.name} and {_expected(rule)}.")
            continue
        elif not rule.takes_value and (equals or following is not None):
            index += following is not None and not equals
            refuse(token, f"{name} is a switch and takes no value. Write {rule.name} alone.")
            continue
        if rule.takes_value and value.startswith("-") and not _NEGATIVE.match(value):
            refuse(token, f"The value of {name} begins with a hyphen. Write {_expected(rule)}.")
            continue
        if _group(rule.name) in {_group(known) for known in places}:
            refuse(token, f"{rule.name} is given twice or contradicts another flag. Keep one.")
            continue
        places[rule.name] = token.item
        flags.append(Flag(name=rule.name, value=value if rule.takes_value else None))
    return flags, places


def _check_any(flags: list[Flag], places: Mapping[str, int]) -> list[FlagProblem]:
    """With no engine chosen: every flag must suit an engine, and one engine must know them all."""
    problems = []
    for flag in flags:
        rules = [rules[flag.name] for rules in RULES.values() if flag.name in rules]
        messages = [_value_problem(rule, flag.value) for rule in rules]
        if all(messages):
            message = str(messages[0])
            problems.append(FlagProblem(suffix=f"[{flag.name}]", message=message, item=places[flag.name]))
    if flags and not any(all(flag.name in rules for flag in flags) for rules in RULES.values()):
        only = {
            name: next(f.name for f in flags if f.name in RULES[e] and not _in_all(f.name))
            for e, name in ENGINE_NAMES.items()
        }
        pairs = " and ".join(f"{flag} to {name}" for name, flag in only.items())
        problems.append(FlagProblem(suffix="", message=f"These flags suit no one engine: {pairs}. Keep one engine's."))
    return problems


def _in_all(name: str) -> bool:
    return all(name in rules for rules in RULES.values())


def _find(name: str, engine: Driver | None) -> FlagRule | None:
    for each in (engine,) if engine else RULES:
        rule = RULES[each].get(_ALIASES[each].get(name, name))
        if rule is not None:
            return rule
    return None


def _refusal(name: str, engine: Driver | None) -> str:
    """Why a name is not in the allow-list, and what to write instead."""
    hyphenated = name.replace("_", "-")
    if "_" in name and (_find(hyphenated, None) or _owner(hyphenated)):
        return f"{shown(name)}: {_owner(hyphenated) or f'write it with hyphens, {hyphenated}.'}"
    owner = _owner(name)
    if owner:
        return f"{shown(name)}: {owner}"
    other = _find(name, None)
    if engine is not None and other is not None:
        return f"{name} is not a flag of {ENGINE_NAMES[engine]}. Remove it, or choose the other driver."
    names = [known for rules in RULES.values() for known in rules]
    longer = [known for known in names if known.startswith(name)] if len(name) > 3 else []
    if longer:
        return f"{shown(name)} is not a whole flag name. Write it in full, as {longer[0]}."
    glued = next(
        (alias for table in _ALIASES.values() for alias in table if re.fullmatch(f"{alias}[0-9]+", name)), None
    )
    if glued:
        return f"{shown(name)} glues a value to a short flag. Write {glued} and the value apart."
    if name.startswith("--no-"):
        return f"{shown(name)}: this negation is not accepted. Remove it."
    which = ENGINE_NAMES[engine] if engine else "any engine"
    return f"{shown(name)} is not among the flags that Moorage allows for {which}. Remove it."


def _owner(name: str) -> str | None:
    if name in OWNED:
        return OWNED[name]
    return next((why for known, why in OWNED.items() if known.endswith("*") and name.startswith(known[:-1])), None)


def _value_problem(rule: FlagRule, value: str | None) -> str | None:
    if not rule.takes_value:
        return None if value is None else f"{rule.name} is a switch and takes no value. Write it alone."
    if value is None or not _fits(rule, value):
        return f"{rule.name} ({rule.meaning}) takes {_expected(rule)}, not {shown(value or '')}."
    return None


def _fits(rule: FlagRule, value: str) -> bool:
    match rule.kind:
        case "choice":
            return value in rule.choices
        case "numbers":
            return _NUMBERS.fullmatch(value) is not None
        case "integer":
            return _INTEGER.fullmatch(value) is not None and rule.low <= Decimal(value) <= rule.high
        case "number":
            return _NUMBER.fullmatch(value) is not None and rule.low <= Decimal(value) <= rule.high
        case "switch":
            return False


def _expected(rule: FlagRule) -> str:
    match rule.kind:
        case "choice":
            return f"one of {', '.join(rule.choices)}"
        case "numbers":
            return "numbers with commas between, such as 3,1"
        case "integer":
            return f"a whole number from {rule.low} to {rule.high}"
        case "number":
            return f"a number from {rule.low} to {rule.high}"
        case "switch":
            return "no value"


def _canonical(flag: Flag) -> Flag:
    """`0.90` and `.9` mean 0.9; `08` means 8. Values that fit no rule stay as they are: they are reported."""
    if flag.value is None or not _NUMBER.fullmatch(flag.value):
        return flag
    number = Decimal(flag.value)
    text = format(number.normalize() + 0, "f") if number else "0"
    return Flag(name=flag.name, value=text)


def _group(name: str) -> str:
    """A switch and its negation are one question."""
    return name.replace("--no-", "--", 1)


def _name_of(suffix: str) -> str:
    return suffix[1:-1]
