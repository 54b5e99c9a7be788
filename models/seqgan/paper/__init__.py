"""The unconditional SeqGAN of Yu et al. 2017 on a synthetic oracle: where text generation can be measured exactly."""
