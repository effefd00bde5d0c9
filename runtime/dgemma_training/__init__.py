"""Makes and measures the models of dgemma: data, canvas training, evaluation."""
