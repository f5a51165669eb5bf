"""The convolutional networks: one file each, by the name that the configuration gives."""
