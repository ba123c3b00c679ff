"""`make faults`: one fault after another under a steady load, and what each of them cost."""
