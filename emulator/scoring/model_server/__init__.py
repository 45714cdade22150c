"""The process behind a deployment: loads one registered model and answers requests on loopback."""
