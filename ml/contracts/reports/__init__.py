"""The types of all reports: what ml writes, workers store as JSON, and pages and gates read.

``base`` is what they have in common: read with a check, written as they were. ``metrics`` has the
figures of links and scores with their names; ``links`` and ``score`` are the reports of a training,
``version`` is what a model version says of itself with them, ``evaluation`` the long report, and
``suggestions`` what to do next. ``explanation`` is why a user has its score. ``dataset`` is what an
upload or a derivation came to, ``graph`` what a graph was built of.
"""
