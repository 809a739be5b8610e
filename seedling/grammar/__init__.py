"""The grammars that write the seedling's prose: one module a language, one protocol (`base`)."""

from seedling.grammar.base import Grammar


def load_grammar(language: str) -> Grammar:
    """The grammar of one language. Imported late, so that one language works while the other is being written."""
    if language == "en":
        from seedling.grammar.en import English

        return English()
    if language == "zh":
        from seedling.grammar.zh import Chinese

        return Chinese()
    raise ValueError(f"no grammar for {language!r}; there are en and zh")
