"""Fine-tuning of a chat model on one CPU machine."""
