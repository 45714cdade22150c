"""management.azure.com: one module per resource, each with its documents, its behaviour and, last, its routes."""
