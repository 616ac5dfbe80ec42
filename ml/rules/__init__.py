"""Rules: safe expressions, one parsed tree, two compilers. No torch.

``rule_set``: the way in. ``parser`` makes the ``tree``; ``user_compiler`` evaluates it for one
user, ``frame_compiler`` for a whole frame.
"""
