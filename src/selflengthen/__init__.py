"""Self-Lengthen: language models that teach themselves to write long (arXiv 2410.23933).

What lives here: the version. Import from the rooms (`selflengthen.text`, `selflengthen.pipeline`, ...); nothing heavy is loaded before it is used.
"""

__version__ = "0.1.0"
