"""Files in object stores (Amazon's S3 and what is compatible with it, Google Cloud Storage)."""
