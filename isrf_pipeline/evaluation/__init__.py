"""What is held out, how lists are measured, and the peers they are compared with."""
