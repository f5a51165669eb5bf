"""The node that measures clips, with intervals, and gates by them."""
