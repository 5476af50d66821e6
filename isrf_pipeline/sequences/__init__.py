"""What comes next in a client's history: a recurrent network over items, their identity and their meaning."""
