"""What the system registry's pipeline runs: one module per component, and the models they start from."""
