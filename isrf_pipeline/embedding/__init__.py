"""Text embeddings: unit vectors of short texts, computed in Spark's Python workers."""
