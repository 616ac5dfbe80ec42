"""What a dataset, a model and their users agree on. No torch: the control center reads it too.

``schema``: node types, features, edge types, label, and their hash. ``mapping``: how somebody's
tables become that, with ``columns`` (roles of columns) and ``naming`` (names of features).
``reports``: what is written of them, as types.
"""
