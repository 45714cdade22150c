"""{account}.blob.core.windows.net: containers that are folders, and the SAS strings that open them."""
