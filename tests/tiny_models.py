"""Tiny random models in a folder, one per architecture, each with the chat template of its family. What does not live here: tests.

A byte-level tokenizer is trained on a few sentences of English and Chinese, so every text has tokens and a character can span several. The weights
are random, larger than at a real start, so that greedy decoding wanders instead of saying one token for ever.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

CORPUS = (
    "The quiet harbour keeps its old boats, and the old boats keep their names.",
    "Write a long letter about the lighthouse, for the children who never saw it. Yes. No.",
    "Instruction 1: Write a travel guide.\nInstruction 2: Write a report.\n\nInstruction 3:",
    "请写一篇关于老街的长文，讲给没有去过的人听。渡口的船已经走远了，茶馆还亮着灯。",
    "system user assistant You are a helpful assistant.\n\n",
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}{% for message in turns %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
)


def tiny_qwen2(path: Path, *, seed: int = 0, context_tokens: int = 512, hidden: int = 32, template: str | None = CHATML) -> Path:
    """Qwen2 with ChatML turns; its end token is not its end of turn."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = _tokenizer(special, eos="<|endoftext|>", pad="<|endoftext|>", bos=None)
    config = Qwen2Config(**_shape(tokenizer, context_tokens, hidden), tie_word_embeddings=True)
    return _save(path, Qwen2ForCausalLM, config, tokenizer, template=template, seed=seed)


def tiny_llama(path: Path, *, seed: int = 0, context_tokens: int = 512, hidden: int = 32, template: str | None = LLAMA3) -> Path:
    """Llama with the turns of Llama 3 and a list of end tokens in its generation settings."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = _tokenizer(special, eos="<|end_of_text|>", pad=None, bos="<|begin_of_text|>")
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|end_of_text|>", "<|eot_id|>")]
    config = LlamaConfig(**_shape(tokenizer, context_tokens, hidden), tie_word_embeddings=False)
    return _save(path, LlamaForCausalLM, config, tokenizer, template=template, seed=seed, ends=ends)


def tiny_mistral(
    path: Path, *, seed: int = 0, context_tokens: int = 512, hidden: int = 32, template: str | None = MISTRAL, window: int | None = 24
) -> Path:
    """Mistral with [INST] turns; every layer looks back `window` tokens."""
    tokenizer = _tokenizer(["<s>", "</s>"], eos="</s>", pad=None, bos="<s>")
    config = MistralConfig(**_shape(tokenizer, context_tokens, hidden), sliding_window=window, tie_word_embeddings=False)
    return _save(path, MistralForCausalLM, config, tokenizer, template=template, seed=seed)


def _tokenizer(special: list[str], *, eos: str, pad: str | None, bos: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=pad, bos_token=bos)


def _shape(tokenizer: PreTrainedTokenizerFast, context_tokens: int, hidden: int) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context_tokens,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.4,
    }


def _save(path: Path, kind: type[PreTrainedModel], config, tokenizer, *, template, seed, ends=None) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config)
    if ends is not None:
        model.generation_config.eos_token_id = ends
    tokenizer.chat_template = template
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
