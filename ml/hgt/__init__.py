"""The heterogeneous graph transformer: from features and edges to embeddings and links.

A forward pass, from the top: ``model`` takes numbers of ``encoders``, makes first states of them
(``projection``), calls each ``layer`` and joins all states to the embedding. A layer projects keys,
queries and values (``parameters``, and ``time_encoding`` for the ages of edges), lets ``attention``
weigh them and updates the states. ``training`` learns the weights.

``row_embedding`` computes some rows from cached states, ``inference`` all rows of a graph that is
larger than memory. ``decoder`` scores links; ``heldout`` fits it and measures on held-out links.
"""
