"""Tokenizers and chat templates of three families, made on the spot. What does not live here: models (`tests/tiny_models.py`).

The templates are written after the families' published ones; the tokenizers have the same machinery (byte-level BPE with composition, byte-level
BPE, sentence-piece BPE with byte fallback) over a vocabulary learned from a few lines. The machinery is what rendering can get wrong.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "The lighthouse keeper wrote a long letter to the harbour, and the harbour answered in two lines.\n\nThen the storm came.\n",
    "A report on the state of the bridges: the first is sound, the second is closed, the third was never built.\n\n\n- one\n- two\n",
    "灯塔的看守人写了一封长信，港口只回了两行。\n\n后来，暴风雨来了。她把信读了一遍又一遍，直到天亮。",
]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UNKNOWN = "<unk>"
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant roles') }}{% endif %}{% endfor %}"
)


def _byte_level(specials: list[str], *, compose: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    return tokenizer


def _sentence_piece(specials: list[str]) -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trained.train_from_iterator(["a", *CORPUS], trainers.BpeTrainer(vocab_size=300, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    # Line breaks have no piece of their own there: they are written as bytes.
    pieces = [piece for piece in learned["vocab"] if "\n" not in piece]
    merges = [tuple(pair) for pair in learned["merges"] if "\n" not in "".join(pair)]
    vocab = {piece: number for number, piece in enumerate([UNKNOWN, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (UNKNOWN, *specials)])
    return tokenizer


def _save(path: Path, tokenizer: Tokenizer, template: str, names: dict[str, str]) -> Path:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.chat_template = template
    fast.save_pretrained(path)
    return path


def qwen2_tokenizer(path: Path) -> Path:
    """ChatML: the turn ends with a token and a newline."""
    tokenizer = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], compose=True)
    return _save(path, tokenizer, CHATML, {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})


def llama_tokenizer(path: Path) -> Path:
    """Llama-3: a begin-of-text token, headers, contents stripped. No padding token, as published."""
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    return _save(path, _byte_level(names, compose=False), LLAMA, {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"})


def mistral_tokenizer(path: Path) -> Path:
    """Mistral: a space before the answer, which decoding does not give back; no system role."""
    tokenizer = _sentence_piece(["<s>", "</s>", "[INST]", "[/INST]"])
    return _save(path, tokenizer, MISTRAL, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": UNKNOWN})
