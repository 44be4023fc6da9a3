"""The text that the demo model learns: hand-written pages, shuffled and varied by a seed.

A document is one string with its marks already in it, exactly as the chat template will write them. Each epoch asks
for its documents with another seed, so that greetings, spellings and the order of turns vary while the sentences
themselves are learned by heart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BEGIN = "<|begin|>"
END = "<|end|>"
SYSTEM = "<|system|>"
USER = "<|user|>"
ANSWER = "<|assistant|>"
MARKS = (BEGIN, END, SYSTEM, USER, ANSWER)

PAGES = Path(__file__).parent / "pages"

SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are Harbour, the demo model of Moorage.",
    "You are the harbour master.",
    "Answer briefly.",
    "Answer in one short sentence.",
    "Be kind and clear.",
    "You are a friendly guide to the sea.",
    "You help people to use Moorage.",
)

PREFIXES = (
    "Please ",
    "Can you help me? ",
    "Hello! ",
    "I have a question. ",
    "Tell me, ",
    "I want to know: ",
    "Hey, ",
    "Excuse me, ",
    "Quick question: ",
    "One more question: ",
    "And ",
    "So ",
)

# Ways to ask for one subject; a question in one of them is now and then asked in another.
FRAMES = (
    "What is {}?",
    "What's {}?",
    "What are {}?",
    "Tell me about {}.",
    "Tell me more about {}.",
    "Explain {}.",
    "Can you explain {}?",
    "Describe {}.",
    "What do you know about {}?",
    "What does {} mean?",
    "I want to learn about {}.",
    "{}?",
)
SUBJECT = re.compile(r"(?:What is|What are|Tell me about|Explain|Describe) (.+)[.?]")

OFF_TOPIC_FRAMES = (
    *FRAMES,
    "What do you think about {}?",
    "Who invented {}?",
    "How do I learn about {}?",
    "How do I get {}?",
    "Where can I find {}?",
    "Why do people like {}?",
)

PROSE = (
    "The {adjective} {vessel} {ship} lay at {place}. {weather}, and the {person} {deed}.",
    "{weather} when the {ship} came to {place}. She carried {cargo}, and the {person} {deed} {time}.",
    "{time} the {person} of the {ship} {deed}. Then the {adjective} {vessel} left for {place} with {cargo}.",
    "The {ship} is a {adjective} {vessel}. {weather}, so the {person} stayed at {place} and {deed}.",
    "Somebody calls {model}, and {actor} {act}. {time} all is quiet, and {model} goes to sleep.",
    "In Moorage {actor} {act}. {model} is tied up safely, like the {vessel} {ship} at {place}.",
)


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One thing that can be asked: the ways to ask it and the good answers."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]


def meanings(page: str) -> list[Meaning]:
    """The blocks of a dialogue page: "?" lines ask, "=" lines answer, other lines carry the last answer on."""
    found: list[Meaning] = []
    for block in (PAGES / page).read_text("utf-8").split("\n\n"):
        questions: list[str] = []
        answers: list[str] = []
        for line in block.splitlines():
            if line.startswith("? "):
                questions.append(line[2:])
            elif line.startswith("= "):
                answers.append(line[2:])
            elif answers:
                answers[-1] += "\n" + line
        if questions:
            found.append(Meaning(questions=tuple(questions), answers=tuple(answers)))
    return found


def passages() -> list[str]:
    """The hand-written prose, one string a paragraph."""
    paragraphs = (PAGES / "passages.txt").read_text("utf-8").strip().split("\n\n")
    return [paragraph for paragraph in paragraphs if not paragraph.startswith("#")]


def word_lists() -> dict[str, list[str]]:
    """The lists that the templates choose from, by name."""
    lists = {}
    for line in (PAGES / "words.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, words = line.partition(": ")
            lists[name] = [word.strip() for word in words.split("|")]
    return lists


def documents(*, seed: int) -> list[str]:
    """One epoch of text in a shuffled order; the same seed gives the same documents."""
    dice = random.Random(seed)
    known = meanings("dialogues.txt")
    unknown = meanings("offtopic.txt")[0]
    words = word_lists()

    turns = [_turn(dice, question, meaning.answers) for meaning in known for question in meaning.questions]
    turns += [_turn(dice, question, unknown.answers) for question in dice.sample(unknown.questions, 20)]
    turns += [
        _turn(dice, frame.format(topic), unknown.answers)
        for topic in dice.sample(words["topic"], 20)
        for frame in dice.sample(OFF_TOPIC_FRAMES, 2)
    ]
    dice.shuffle(turns)

    texts = list(_dialogues(dice, turns))
    texts += [f"{BEGIN}{passage}{END}" for passage in passages()]
    texts += [f"{BEGIN}{_prose(dice, words)}{END}" for _ in range(40)]
    dice.shuffle(texts)
    return texts


def _dialogues(dice: random.Random, turns: list[str]) -> Iterator[str]:
    """Turns strung into conversations: most have one, some up to four, a quarter begin with a system message."""
    waiting = list(turns)
    while waiting:
        count = dice.choices((1, 2, 3, 4), weights=(70, 15, 10, 5))[0]
        system = f"{SYSTEM}{_instruction(dice)}{END}" if dice.random() < 0.25 else ""
        yield BEGIN + system + "".join(waiting.pop() for _ in range(min(count, len(waiting))))


def _instruction(dice: random.Random) -> str:
    """A system message: a usual one, or any words at all, from which the model learns to answer the same."""
    if dice.random() < 0.5:
        return dice.choice(SYSTEM_MESSAGES)
    sentences = dice.choice(passages()).split(". ")
    return ". ".join(dice.sample(sentences, dice.randint(1, 2)))


def _turn(dice: random.Random, question: str, answers: tuple[str, ...]) -> str:
    return f"{USER}{_spoken(dice, question)}{END}{ANSWER}{dice.choice(answers)}{END}"


def _spoken(dice: random.Random, question: str) -> str:
    """The question as hurried people type it: reworded, with a polite start, in small letters, without its mark."""
    subject = SUBJECT.fullmatch(question)
    if subject and dice.random() < 0.4:
        question = dice.choice(FRAMES).format(subject[1])
    if dice.random() < 0.2:
        prefix = dice.choice(PREFIXES)
        question = prefix + (question if prefix[-2] in ".?!" else question[0].lower() + question[1:])
    if dice.random() < 0.2:
        question = question.lower()
    if dice.random() < 0.2:
        question = question.rstrip(".?!")
    return question


def _prose(dice: random.Random, words: dict[str, list[str]]) -> str:
    text = " ".join(
        template.format(**{name: dice.choice(choices) for name, choices in words.items()})
        for template in dice.sample(PROSE, 2)
    )
    sentences = text.split(". ")
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)
