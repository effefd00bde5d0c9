"""Weights in fewer bits, for GPUs that cannot hold the large model in bfloat16.

``forms`` packs and unpacks numbers, ``modules`` puts packed weights in the place of the model's
own, ``grouped`` multiplies by the experts' (a Triton kernel on GPUs, a loop elsewhere), and
``load`` reads a checkpoint tensor by tensor, so that one of them at most is ever there unpacked.
``kept`` keeps what was packed on the disk, for the next start.

Stock quantisers leave the experts alone, which are 88 % of DiffusionGemma, and skip everything that
encoder and decoder share, which is nearly all of the rest.
"""
