"""Cleaning, deduplicating and augmenting of tables.

``optimization``: the way in. ``cleaning``, ``deduplicating``, ``augmenting``: the steps;
``similarity`` finds what is alike, ``added`` holds what was made, ``actions`` reads suggestions.
``steps``: what each step did.
"""
