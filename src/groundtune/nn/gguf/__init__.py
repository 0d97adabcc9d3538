"""GGUF files for llama.cpp, Ollama and LM Studio: our own writer for Llama models, llama.cpp's converter for the others."""
