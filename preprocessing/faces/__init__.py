"""From frames to face crops: detection, shots, tracks, persons, quality, and the crop itself."""
