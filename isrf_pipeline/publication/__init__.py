"""What consumers see: nights that have passed their gates, one of them the current one."""
