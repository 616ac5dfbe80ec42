"""What the admin's pages of a task are made of.

``forms`` creates one, ``timeline`` shows its stages with their attempts, ``training_losses`` the
loss by epoch, ``links`` leads to what the rooms above show of it.
"""
