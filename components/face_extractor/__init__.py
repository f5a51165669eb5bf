"""The node that cuts the faces out of clips."""
