"""The children of `chat_completion_pipeline`: validate, import the model, preprocess, fine-tune, convert."""
