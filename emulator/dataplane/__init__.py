"""{region}.api.azureml.ms: discovery, run history, MLflow tracking and data."""
