"""One run: data, models, methods and the training loop. Knows neither Ray nor Parquet."""
