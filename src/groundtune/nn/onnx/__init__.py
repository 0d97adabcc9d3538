"""BERT-like encoders through onnxruntime: graphs written here, weights from safetensors."""
