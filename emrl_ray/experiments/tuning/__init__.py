"""What a search of hyperparameters is made of: its rows, scores, records and outcome; knows no Ray."""
