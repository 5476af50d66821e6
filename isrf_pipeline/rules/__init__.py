"""Business rules of the delivered lists: what may be listed, in which order, and what each rule did."""
