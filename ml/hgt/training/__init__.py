"""Training of the network.

``train``: the way in, from a graph; ``config``: its numbers. ``loop``: epochs, steps, checkpoints.
``batches``: what a step supervises; ``minibatch``: the embeddings it needs; ``losses``: InfoNCE.
``training_data``: what is read, in memory or mapped. ``checkpoint``: what is kept.
``distributed``: several processes, which talk through ``process_group``.
"""
