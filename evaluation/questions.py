"""What vision-language models are asked about a photo, and the answer that is scored.

Source: CounterAnimal, appendix C.3 (arXiv:2403.11497); it reports the first.
"""

import hashlib
from dataclasses import dataclass

from evaluation.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a photo, and the answer whose likelihood is a class's score.

    Attributes:
        name: as the command line has it.
        question: may contain `{name}`; then every class is asked another question.
        answer: may contain `{name}`.
    """

    name: str
    question: str
    answer: str

    def pair(self, name: str) -> tuple[str, str]:
        """Question and answer for a class's name.

        Example:
            >>> QUESTIONS["main-object"].pair("ostrich")
            ('What is the main object in the image?', 'A ostrich')
        """
        # not str.format: a name may hold braces
        return self.question.replace("{name}", name), self.answer.replace(
            "{name}", name
        )

    @property
    def key(self) -> str:
        """What tells its losses from another question's."""
        text = f"{self.question}\n{self.answer}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]


QUESTIONS = {
    one.name: one
    for one in (
        Question("main-object", "What is the main object in the image?", "A {name}"),
        Question("describe", "Describe this image in detail.", "A {name}"),
        Question("is-there", "Is there a {name} in the image?", "Yes"),
        Question("is-photo", "Is this image a photo of {name}?", "Yes"),
    )
}
"""Questions by name."""

DEFAULT_QUESTION = "main-object"


def question(name: str) -> Question:
    """The question of a name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in QUESTIONS:
        message = f"unknown question {name!r}; {nearest(name, QUESTIONS)}"
        raise ConfigError(message)
    return QUESTIONS[name]
