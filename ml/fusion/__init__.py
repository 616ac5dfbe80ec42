"""One score from rules, embedding and attributes, by a learned gate.

``evidence``: what is known of users, as matrices. ``targets``: what the score learns from.
``fusion``: the gate, its fit and calibration. ``fitting``: all of it, from a graph. ``scoring``:
scores of users. ``validation``: how good they are, with ``leaks`` (columns that tell the label by
themselves) and ``notes``. ``background``: users that explanations compare with. ``facts``: what
else is known of a user.
"""
