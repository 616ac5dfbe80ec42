"""Why a user has a score: Shapley values through network, rules and fusion.

``explanation``: the views, ready to show. ``players``: rules and kinds of evidence. ``game``: the
fused score as a game of them; ``flat``: as a game of single features. ``shapley``: the values.
``counterfactual``: the user's embedding without some evidence; ``neighbourhood``: what arrives at a
user. ``neighbours``: the strongest single neighbours.
"""
