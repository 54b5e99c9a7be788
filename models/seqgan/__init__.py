"""A conditional SeqGAN: an article in, a headline out (Yu et al. 2017, arXiv:1609.05473, made conditional)."""
