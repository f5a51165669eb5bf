"""What every room needs: errors, progress, files, locks, versions of libraries."""
