"""The seedling that ships: its size, its weights and its card belong together, and it is what the grammars' limits say."""

import hashlib
import json
from pathlib import Path

from seedling.grammar.base import ANSWER_WORDS, EXTENDED_WORDS

SHIPPED = Path(__file__).parents[2] / "src" / "selflengthen" / "seedling"
REPORT = json.loads((SHIPPED / "training.json").read_text(encoding="utf-8"))


def test_it_is_small_enough():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 12_000_000


def test_the_weights_are_those_of_the_report_and_of_the_card():
    digest = hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest()
    assert digest == REPORT["sha256"]
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert digest in card
    assert f"{REPORT['steps']:,} steps" in card


def test_it_is_a_qwen2_with_a_chat_template_and_both_end_tokens():
    config = json.loads((SHIPPED / "config.json").read_text())
    assert (config["model_type"], config["max_position_embeddings"]) == ("qwen2", 4096)
    assert "<|im_start|>" in (SHIPPED / "chat_template.jinja").read_text()
    assert json.loads((SHIPPED / "generation_config.json").read_text())["eos_token_id"] == [2, 0]


def test_the_limits_of_what_it_has_seen():
    assert (ANSWER_WORDS, EXTENDED_WORDS) == (150, 400)
