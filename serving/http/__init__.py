"""What the server and the gateway share: HTTP, its limits, metrics and the life of a process."""
