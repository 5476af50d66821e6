"""From source files to silver tables: every source row ends in silver or, with the rule it broke, in quarantine."""
