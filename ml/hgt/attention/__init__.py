"""Softmax attention over all in-edges of a node, without a tensor of the edges' size.

``attend``: all nodes of a graph, with gradients. ``row_attention``: some rows, without.
``partials``: what they and the backends share. The backends: ``compiled`` on the loops of
``kernels`` (CPU, float32), and ``chunked`` in torch (any device). ``row_kernels``: the loops of
``row_attention``. ``neighbour_sums``: plain sums over neighbours.
"""
