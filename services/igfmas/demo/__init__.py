"""`make demo`: the slides' 14 steps on real parts, and an account of every voucher.

The demonstration plays the officers: it presses the buttons, reads their mailboxes and types their PINs.
"""
