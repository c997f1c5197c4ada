"""Files of crystals: listing, planning, parsing, loading."""
