"""Model server, gateway and clients, and the contract of an exported model."""
