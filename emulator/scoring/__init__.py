"""What answers at `{endpoint}.{region}.inference.ml.azure.com`."""
