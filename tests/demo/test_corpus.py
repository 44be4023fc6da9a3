"""The training text: the same seed tells the same story, and what is promised to be in it is in it."""

from __future__ import annotations

from runners.demo import corpus


def test_the_same_seed_gives_the_same_documents_and_another_seed_others():
    assert corpus.documents(seed=7) == corpus.documents(seed=7)
    assert corpus.documents(seed=7) != corpus.documents(seed=8)


def test_every_meaning_has_questions_and_answers_and_no_question_is_asked_twice():
    known = corpus.meanings("dialogues.txt") + corpus.meanings("offtopic.txt")
    questions = [question for meaning in known for question in meaning.questions]

    assert all(meaning.questions and meaning.answers for meaning in known)
    assert len(questions) == len(set(questions))


def test_every_epoch_holds_every_answer_known_and_every_passage():
    text = "".join(corpus.documents(seed=1))

    for meaning in corpus.meanings("dialogues.txt"):
        assert any(f"{corpus.ANSWER}{answer}{corpus.END}" in text for answer in meaning.answers)
    for passage in corpus.passages():
        assert f"{corpus.BEGIN}{passage}{corpus.END}" in text


def test_a_document_begins_once_and_ends_with_its_end_mark():
    for document in corpus.documents(seed=2):
        assert document.startswith(corpus.BEGIN)
        assert document.count(corpus.BEGIN) == 1
        assert document.endswith(corpus.END)
