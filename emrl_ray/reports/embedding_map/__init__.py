"""Maps of embeddings, as pictures and pages."""
