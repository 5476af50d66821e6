"""One run: its identity, its hold on the lake, its session, its records and what people see of it."""
