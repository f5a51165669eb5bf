"""The node that measures frames with TFMA, and gates by them."""
