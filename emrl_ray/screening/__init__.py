"""From candidates to a shortlist: objectives, filters, ranking, choice."""
