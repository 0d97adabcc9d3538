"""Weight-only quantization: int8 and int4 linear layers, after training or during it, and their folders on disk."""
