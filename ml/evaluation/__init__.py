"""How good links are: metrics, baselines, reports.

``metrics``, ``ranking``: measures; ``intervals``, ``bootstrap``: how sure they are. ``baselines``:
what the model is compared with. ``queries``, ``answers``: held-out links and their ranks.
``report``: of a model version, with ``link_notes``. ``long_report``: of the stage ``evaluating``,
with ``slices``, ``worst_links``, ``worst_users`` and ``suggestions``. ``named``: metrics by name.
"""
