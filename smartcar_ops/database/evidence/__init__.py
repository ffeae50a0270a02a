"""Which Smartcar user id belongs to which user, by the evidence: facts and buckets, as SQL."""
