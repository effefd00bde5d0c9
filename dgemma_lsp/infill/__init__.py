"""The infill core: from a snapshot and an offset to a checked, ranked candidate.

Pure code over offsets and strings; it knows no LSP types, sockets or models.
"""
