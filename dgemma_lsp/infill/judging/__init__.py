"""What is wrong with a text in its place, fault by fault; ``judge`` is the way in."""
