"""What is worth knowing from elsewhere at a hole: values in, pieces of text out.

Definitions of the names in sight, text that resembles the place, and what was changed lately.
Reads no files and knows no event loop; ``surroundings`` brings the texts.
"""
