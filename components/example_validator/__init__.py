"""The node that holds records against the curated schema."""
