"""Nodes, edges and what messages travel along.

``graph``: frames to nodes and edges. ``splits``: the cut in time. ``storage``: on disk.
``message_types``: an edge type in one direction and of one age; ``ages``: classes of ages.
``adjacency``: edges sorted for message passing; ``messages``: all of them, with their numbers.
``structure``: pairs that may lie on disk; ``sampler``: mini-batches from them.
``growing``: edges that become more, in a ``growing_array``. ``sampling_kernels``,
``growing_kernels``, ``sorting``: compiled loops.
"""
