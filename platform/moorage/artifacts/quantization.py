"""Whether a tag that promises a quantization keeps the promise: `Q4_K_M` on the label, Q4_K in the tensors.

A recipe such as Q4_K_M mixes types, and rows that do not fill a block of 256 fall back to a larger type, so each claim
has a set of tensor types that may hold most of the weights.
"""

import re

from moorage.artifacts.errors import UnsupportedArtifact
from moorage.artifacts.facts import ModelFacts

_QUANTIZATION = re.compile(
    r"(?:^|[-_.])(?:UD-)?((?:I?Q[1-8]|TQ[12])_(?:K_(?:XL|XXL|[SML])|K|XXS|XS|NL|[SM01])|BF16|F16|F32|MXFP4|NVFP4)$",
    re.IGNORECASE,
)
# llama.cpp's stand-ins for rows that are no multiple of 256
_FALLBACKS = {
    "Q2_K": {"Q4_0", "IQ4_NL"}, "Q3_K": {"Q4_0", "IQ4_NL"}, "Q4_K": {"Q5_0"}, "Q5_K": {"Q5_1"}, "Q6_K": {"Q8_0"},
}  # fmt: skip


def promised_by(tag: str) -> str:
    """The quantization that a tag names, such as `Q4_K_M` in `360M-Q4_K_M`, in capitals; "" if it names none."""
    found = _QUANTIZATION.search(tag)
    return found.group(1).upper() if found else ""


def check_promise(tag: str, facts: ModelFacts) -> None:
    """Raise UnsupportedArtifact if the tag promises one quantization of a GGUF model and the tensors are of another."""
    promised = promised_by(tag)
    if not promised or facts.format != "gguf":
        return
    family = family_of(promised)
    derived = facts.quantization_derived
    if family is not None and derived not in {family} | _FALLBACKS.get(family, set()):
        raise UnsupportedArtifact(
            f"The tag {tag} promises {promised}, but most of the weights are {derived}. Correct the tag or the file."
        )


def family_of(promised: str) -> str | None:
    """The tensor type behind a recipe's name: Q4_K_M -> Q4_K. None for the mixed IQ recipes, which have no one type."""
    if promised.startswith("IQ") and promised.endswith(("_M", "_S", "_XS")):
        return None
    return re.sub(r"_(?:XXL|XL|[SML])$", "", promised) if "_K" in promised else promised
