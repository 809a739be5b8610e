"""For eyes: figures, tables, live progress, the history of a row, what would run. Reads the store, never writes it.

What does not live here: the arithmetic of texts (`text`), the held-out figures (`stages.measure`), what is printed when (`cli`).
"""
