"""The denoise loop's speed: see ``__main__``."""
