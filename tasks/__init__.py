"""The stages of the fine-tuning flow, one module each."""
