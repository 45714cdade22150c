"""The system registry "azureml": foundation models and the fine-tuning pipeline, as a registry shows them."""
