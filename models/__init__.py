"""What a study trains: the conditional SeqGAN for headlines, and its texts. Knows nothing of the search."""
