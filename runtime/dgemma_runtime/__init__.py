"""The model process: queue, canvas, denoise loop. Only ``engine`` and ``models`` import torch."""
