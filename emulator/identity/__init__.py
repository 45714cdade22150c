"""Microsoft Entra ID: who may sign in, the tokens they get, and what those allow."""
