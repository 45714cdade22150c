"""What a deployment of the flow needs beside its code."""
