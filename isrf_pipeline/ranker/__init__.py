"""The learned ranker: orders the candidates of all scorers by what is known at the moment of recommendation."""
