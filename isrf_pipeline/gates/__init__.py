"""What a night must keep before anybody sees it: each gate is one measured value beside its limit."""
