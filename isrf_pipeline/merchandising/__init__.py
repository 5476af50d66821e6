"""What buyers and sales associates read: reasons, related items, hero items and their audiences."""
