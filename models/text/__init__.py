"""Headline/body pairs and the tokenizer that turns them into ids."""
