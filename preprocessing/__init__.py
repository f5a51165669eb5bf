"""From files of media to records of face crops, without TFX."""
