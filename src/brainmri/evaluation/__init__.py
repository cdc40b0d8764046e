"""What a trained model does on images, and how far it can be trusted."""
