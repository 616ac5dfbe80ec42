"""Embeddings of a graph that grows, exact but for rows that are marked stale.

``engine``: the way in; ``results``: what it answers. ``arrivals``: events and features by id.
``intake`` puts them into the caches (``node_cache``), ``frontier`` follows how far they reach,
``recompute`` computes rows anew, ``hubs`` keeps partial results of nodes with many edges.
``priority``: which stale rows come first.
``snapshot``: what is kept on disk. ``audit``: a comparison with a full pass.
"""
