"""What to recommend to every user: the links that the model scores best (``recommend``), and why
(``reasons``)."""
