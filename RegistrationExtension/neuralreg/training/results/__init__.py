"""What a trained model gives: predictions, figures of them, and pictures."""
