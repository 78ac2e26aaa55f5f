"""What is trained: methods, backbones, networks of the zoo, and the exported model."""
