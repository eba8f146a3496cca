"""Trained models for other programs: a folder for the Hugging Face Hub, ONNX, torch.export."""
