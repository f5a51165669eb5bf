"""The commands of `deepfake`, one module each: what they accept, and which function does the work.

These modules import nothing heavy; what does the work is imported when a command runs.
"""
