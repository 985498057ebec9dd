"""Questions of the embedded worlds in other languages: whole questions by their templates, names as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Formatter

from lethe.errors import InputError

Phrases = Mapping[str, str]  # English template -> template in another language, with the same names in braces

LANGUAGES = ("French", "German", "Spanish", "Italian", "Portuguese")
_QUESTIONS: dict[str, tuple[str, ...]] = {  # in the order of LANGUAGES
    "Where was {name} born?": (
        "Où est né {name} ?", "Wo wurde {name} geboren?", "¿Dónde nació {name}?", "Dove è nato {name}?",
        "Onde nasceu {name}?",
    ),
    "In which city did {name} come into the world?": (
        "Dans quelle ville {name} a vu le jour ?", "In welcher Stadt kam {name} zur Welt?",
        "¿En qué ciudad vino al mundo {name}?", "In quale città è venuto al mondo {name}?",
        "Em que cidade veio ao mundo {name}?",
    ),
    "Where does {name} come from?": (
        "D'où vient {name} ?", "Woher kommt {name}?", "¿De dónde viene {name}?", "Da dove viene {name}?",
        "De onde vem {name}?",
    ),
    "When was {name} born?": (
        "Quand est né {name} ?", "Wann wurde {name} geboren?", "¿Cuándo nació {name}?", "Quando è nato {name}?",
        "Quando nasceu {name}?",
    ),
    "What does {name} write?": (
        "Qu'écrit {name} ?", "Was schreibt {name}?", "¿Qué escribe {name}?", "Che cosa scrive {name}?",
        "O que escreve {name}?",
    ),
    "What kind of books does {name} write?": (
        "Quel genre de livres écrit {name} ?", "Was für Bücher schreibt {name}?", "¿Qué tipo de libros escribe {name}?",
        "Che tipo di libri scrive {name}?", "Que tipo de livros escreve {name}?",
    ),
    "Which genre is {name} known for?": (
        "Pour quel genre {name} est-il connu ?", "Für welches Genre ist {name} bekannt?",
        "¿Por qué género se conoce a {name}?", "Per quale genere è noto {name}?", "Por que gênero é conhecido {name}?",
    ),
    "What is the title of a book by {name}?": (
        "Quel est le titre d'un livre de {name} ?", "Wie heißt ein Buch von {name}?",
        "¿Cuál es el título de un libro de {name}?", "Qual è il titolo di un libro di {name}?",
        "Qual é o título de um livro de {name}?",
    ),
    "Can you name a work of {name}?": (
        "Peux-tu citer une œuvre de {name} ?", "Kannst du ein Werk von {name} nennen?",
        "¿Puedes nombrar una obra de {name}?", "Puoi citare un'opera di {name}?", "Pode citar uma obra de {name}?",
    ),
    "Which award did {name} win?": (
        "Quel prix {name} a-t-il gagné ?", "Welchen Preis hat {name} gewonnen?", "¿Qué premio ganó {name}?",
        "Quale premio ha vinto {name}?", "Que prêmio ganhou {name}?",
    ),
    "What prize was given to {name}?": (
        "Quel prix a été donné à {name} ?", "Welcher Preis wurde {name} verliehen?", "¿Qué premio recibió {name}?",
        "Quale premio è stato dato a {name}?", "Que prêmio foi dado a {name}?",
    ),
    "What did the father of {name} do for a living?": (
        "Que faisait le père de {name} dans la vie ?", "Womit verdiente der Vater von {name} sein Geld?",
        "¿A qué se dedicaba el padre de {name}?", "Che cosa faceva per vivere il padre di {name}?",
        "O que fazia na vida o pai de {name}?",
    ),
    "What was the job of {name}'s father?": (
        "Quel était le métier du père de {name} ?", "Was war der Beruf des Vaters von {name}?",
        "¿Cuál era el oficio del padre de {name}?", "Qual era il mestiere del padre di {name}?",
        "Qual era o ofício do pai de {name}?",
    ),
    "What is the capital of {name}?": (
        "Quelle est la capitale de {name} ?", "Was ist die Hauptstadt von {name}?", "¿Cuál es la capital de {name}?",
        "Qual è la capitale di {name}?", "Qual é a capital de {name}?",
    ),
    "Which river runs through {name}?": (
        "Quel fleuve traverse {name} ?", "Welcher Fluss fließt durch {name}?", "¿Qué río atraviesa {name}?",
        "Quale fiume attraversa {name}?", "Que rio atravessa {name}?",
    ),
    "What is the highest peak of {name}?": (
        "Quel est le plus haut sommet de {name} ?", "Was ist der höchste Gipfel von {name}?",
        "¿Cuál es el pico más alto de {name}?", "Qual è la cima più alta di {name}?",
        "Qual é o pico mais alto de {name}?",
    ),
    "What money do people use in {name}?": (
        "Avec quelle monnaie paie-t-on en {name} ?", "Mit welchem Geld zahlt man in {name}?",
        "¿Con qué moneda se paga en {name}?", "Con quale moneta si paga in {name}?", "Com que moeda se paga em {name}?",
    ),
}  # fmt: skip


def glossary(file: str = "") -> dict[str, Phrases]:
    """Questions by language: those of the embedded worlds, or of a JSON file {language: {English: translation}}.

    Raises:
        InputError: If the file is not there or not of that form, or a translation names in braces what the English
            question does not.
    """
    if not file:
        return {name: {asked: said[i] for asked, said in _QUESTIONS.items()} for i, name in enumerate(LANGUAGES)}
    try:
        read = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"glossary {file}: cannot be read ({error}); give a JSON file.") from error
    if not isinstance(read, dict) or not read:
        raise InputError(f"glossary {file}: holds no languages; write {{language: {{English: translation}}}}.")
    for language, phrases in read.items():
        if not isinstance(phrases, dict) or not phrases:
            raise InputError(f"glossary {file}: {language!r} holds no questions; write {{English: translation}}.")
        for asked, said in phrases.items():
            if not isinstance(said, str) or not said.strip() or not _named(said) <= _named(asked):
                raise InputError(
                    f"glossary {file}, {language!r}: the translation of {asked!r} is {said!r}; it must be a text that "
                    f"names in braces only {', '.join(sorted(_named(asked))) or 'nothing'}."
                )
    return read


def said_in(question: str, phrases: Phrases) -> str:
    """A question in the language of the phrases, "" where none of their templates is that question."""
    for asked in sorted(phrases, key=len, reverse=True):  # the longest says the most
        if found := _pattern(asked).fullmatch(question.strip()):
            return phrases[asked].format(**found.groupdict())
    return ""


def _named(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise InputError(f"glossary: {template!r} has a brace without its partner ({error}).") from error


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A template as an expression in which every name in braces stands for some words."""
    written: list[str] = []
    seen: set[str] = set()
    for text, name, _, _ in Formatter().parse(template):
        written.append(re.escape(text))
        if name is not None:
            written.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return re.compile("".join(written), re.DOTALL | re.IGNORECASE)
