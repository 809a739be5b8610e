"""The parts of the embedded engine, over a Hugging Face causal model that stays as the library wrote it.

`loading` opens a model, `dialogue` turns a request into token ids, `cache` and `attention` hold and read the keys and values of rows of unequal
length, `lora` adds each row's adapter, `sampler` picks the next tokens, `streaming` turns them into text, `row` is one request under way, `batch`
is the rows that run together, `loop` is the thread that runs them. What does not live here: the engine's face to the rest (`engines.transformers`).
"""
