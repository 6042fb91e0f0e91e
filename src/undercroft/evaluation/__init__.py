"""How well and how fast search finds what people judged relevant: BEIR collections through the real pipeline."""
