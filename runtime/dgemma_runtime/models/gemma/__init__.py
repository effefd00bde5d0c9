"""What the DiffusionGemma adapter is made of.

``prefix`` keeps a prefix's keys and values, ``attention`` is how a canvas looks at them and at
itself, ``decoder`` runs the model's own modules over canvases, ``buckets`` and ``step`` give a pass
a shape that comes again, and ``graphs`` records such a pass once and replays it.
"""
