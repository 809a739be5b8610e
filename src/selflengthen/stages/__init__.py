"""The algorithm: one file per arrow of the flow, in the order of the method, and what they share.

`instruct`, `respond`, `extend`, `sft_data`, `train`, `measure` are the arrows; `drafting` writes one text under watch, `runner` runs arrows as one
flow, `ledger` knows where each stage's rows are. What does not live here: the order of the stages over a run (`pipeline`).
"""
