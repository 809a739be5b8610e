"""The parts of the engines that answer through servers: the protocol, the servers' state, and the processes of servers of our own.

What does not live here: their faces (`engines.openai`, `engines.vllm`).
"""
