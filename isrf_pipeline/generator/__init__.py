"""Items as short codes of their meaning and behaviour, and a transformer that writes the code of the next one."""
