"""Names and patterns of models: ``*`` stands for any run of characters, nothing else is special.

Billing and the gateway must agree on which price fits a model, so the rule is here.
"""


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` names ``name``."""
    if "*" not in pattern:
        return pattern == name
    first, *middle, last = pattern.split("*")
    if not name.startswith(first) or len(name) < len(first) + len(last):
        return False
    if not name.endswith(last):
        return False
    position, limit = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, position, limit)
        if found < 0:
            return False
        position = found + len(part)
    return True


def specificity(pattern: str) -> tuple[bool, int, str]:
    """Greater is more specific: a name beats a pattern; a pattern with more letters of its own beats one with fewer;
    the text settles ties."""
    return ("*" not in pattern, len(pattern.replace("*", "")), pattern)
